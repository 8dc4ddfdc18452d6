"""The training demonstration: a trainer who cheats in nine ways, auditors, and one who accuses the honest."""
