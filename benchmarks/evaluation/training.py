"""The sections about the calibrated constant and about training."""

from benchmarks.evaluation.cells import Column, Result, count, figure, ratio, scenes, share, table, text


def theta(result: Result) -> list[str]:
    rows = [
        {"lanes": lanes.removeprefix("lanes_"), "cheat": cheat, "theta": held["theta"], **found}
        for lanes, held in result.items()
        if lanes.startswith("lanes_")
        for cheat, found in held["substitutions"].items()
    ]
    columns = [
        Column("lanes", "lanes", text),
        Column("theta", "theta", figure),
        Column("substitution", "cheat", text),
        Column("outputs refuted by gamma", "outputs_refuted_by_gamma", share),
        Column("outputs beyond theta", "outputs_beyond_theta", share),
        Column("matrices accused, confirmed by the contract", "matrices_the_contract_confirms", share),
    ]
    return [
        "The deviation of a sum of products from its exact value in units of u sqrt(K) ||a o b||: theta is three times "
        "the largest of honest kernels, sequential ones included. Beyond it a prover must answer to the committee.",
        table(columns, rows),
    ]


def training(result: Result) -> list[str]:
    rows = [{"name": name, **model} for name, model in result["models"].items()]
    columns = [
        Column("model", "name", text),
        Column("steps", "steps", count),
        Column("replay equal", "replay_equal", text),
        Column("equal without the log", "equal_without_log", text),
        Column("log bytes a step", "log_bytes_per_step", count),
        Column("published", "published_log_bytes_per_step", count),
        Column("time / float32", "time_ratio", ratio),
        Column("time / float64", "time_ratio_fp64", ratio),
        Column("of it rounding", "rounding_share", share),
        Column("of it commitments", "commitment_share", share),
        Column("audit / record", "audit_ratio", ratio),
        Column("memory / float32", "memory_ratio", ratio),
    ]
    false = result["false_mismatches"]
    return [
        "Each model is recorded on one kernel variant and audited on others, every value of the state after every step "
        "compared bit for bit; without the log means rounding to nearest whatever was computed. Published is the "
        "published method's log, from its paper for the large models and from its re-implementation for the others.",
        table(columns, rows),
        f"False mismatches: {count(false['count'])} in {count(false['steps'])} audited steps.",
    ]


def demo_training(result: Result) -> list[str]:
    job = result["job"]
    return [
        f"{count(job['steps'])} steps of {count(job['operators'])} operators on a local chain. Slashed is whoever "
        "lost a bond: a cheating trainer or, in the last row, a malicious auditor.",
        scenes(result, Column("scene", "name", text), Column("operator", "operator", text)),
    ]
