"""The sections about the calibrated constant and about training."""

from benchmarks.evaluation.cells import Column, Result, count, figure, ratio, scenes, share, table, text

PUBLISHED = (
    'Srivastava, Arora and Boneh, "Optimistic Verifiable Training by Controlling Hardware Nondeterminism", '
    "NeurIPS 2024"
)


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
    rows = [{"name": name, **model, **_published(model)} for name, model in result["models"].items()]
    columns = [
        Column("model", "name", text),
        Column("steps", "steps", count),
        Column("replay equal", "replay_equal", text),
        Column("equal without the log", "equal_without_log", text),
        Column("plain float32 equal", "equal_plain_fp32", text),
        Column("rounded float64 equal", "equal_rounded_fp64", text),
        Column("log bytes a step", "log_bytes_per_step", count),
        Column("time / float32", "time_ratio", ratio),
        Column("time / float64", "time_ratio_fp64", ratio),
        Column("of it rounding", "rounding_share", share),
        Column("of it commitments", "commitment_share", share),
        Column("of it the log", "log_share", share),
        Column("audit / record", "audit_ratio", ratio),
        Column("memory / float32", "memory_ratio", ratio),
    ]
    published = [
        Column("model", "name", text),
        Column("log bytes a step: ours", "log_bytes_per_step", count),
        Column("published, its authors' figure", "stated", count),
        Column("published, re-implemented", "log_bytes", count),
    ]
    modes = [
        Column("model", "name", text),
        Column("thresholds", "mode", text),
        Column("trits that say something", "entries", count),
        Column("log bytes a step", "log_bytes", count),
        Column("compressed", "compressed_bytes", count),
        Column("published record / ours", "record_over_ours", ratio),
        Column("published replay / ours", "replay_over_ours", ratio),
        Column("replay equal here", "replay_equal_here", text),
    ]
    compared = [
        {"name": name, "mode": mode, **model[key]}
        for name, model in result["models"].items()
        for mode, key in (("lowest", "published"), ("adapted", "published_adapted"))
        if key in model
    ]
    false = result["false_mismatches"]
    return [
        "Each model is recorded on one kernel variant and audited on others, every value of the state after every step "
        "compared bit for bit. Without the log, sums are still rounded correctly and only elementary functions can "
        "tell devices apart. Plain float32 is ordinary training on the same devices. Rounded float64 is every node "
        "computed in float64 and rounded in whatever order its kernel adds, with no log and no correct sums. ResNet-50 "
        "and GPT-2 have their published sizes and train on random data for a few steps: the first ones warm up, and "
        "the last one stores its state whole, as one in fifty does of a longer run; ratios are medians of all but the "
        "first. The log's share is nearly all in the two before it: finding the results of elementary functions that "
        "devices may round apart, in the pass that rounds them, and writing, compressing and storing their values.",
        table(columns, rows),
        f"False mismatches: {count(false['count'])} in {count(false['steps'])} audited steps.",
        f"The published method is that of {PUBLISHED}. Its authors' figures are of their own setting; re-implemented, "
        "it runs on the same graphs as ours.",
        table(published, rows),
        "The same with the lowest threshold everywhere, and with the thresholds that it adapts to each layer: the "
        "largest with which two devices that follow one log round alike. A trit for every result takes as many bytes "
        "whatever it says; compressed, as ours is, few remain where nearly all say nothing. Times are those of one "
        "step, without the search for thresholds, over the time that ours takes to record it, below 1 where the "
        "published method is faster; *replay equal here* says whether it reproduced the step on the device that "
        "recorded it, which it does not prove for others.",
        table(modes, compared),
    ]


def _published(model: Result) -> Result:
    """What is known of the published method on a model; its authors' figure where they give one."""
    made, stated = model.get("published", {}), model.get("published_log_bytes_per_step")
    return {**made, "stated": None if stated == made.get("log_bytes") else stated}


def demo_training(result: Result) -> list[str]:
    job = result["job"]
    return [
        f"{count(job['steps'])} steps of {count(job['operators'])} operators on a local chain. Slashed is whoever "
        "lost a bond: a cheating trainer or, in the last row, a malicious auditor.",
        scenes(result, Column("scene", "title", text), Column("operator", "operator", text)),
    ]
