"""The sections about inference."""

from benchmarks.evaluation.cells import (
    PICTURE,
    Column,
    Result,
    count,
    listing,
    named,
    ratio,
    scenes,
    share,
    table,
    text,
)


def coverage(result: Result) -> list[str]:
    columns = [
        Column("network", "name", text),
        Column("nodes", "nodes", count),
        Column("operators", "operators", count),
        Column("bound", "bound", share),
        Column("rule", "rule", share),
        Column("calibration", "calibration", share),
        Column("adjudicator", "adjudicator", share),
        Column("most transactions", "transactions", lambda counts: max(counts, key=int)),
        Column("no adjudicator", "undecided", text),
    ]
    return [
        "Shares of the nodes of exported networks. *Bound*: the worst-case bound of the call is known. "
        "*Rule*: it is known what output is acceptable, equal bits or within a bound. *Calibration*: a "
        "committee has a statistic. *Adjudicator*: a contract decides a single element, in as many "
        "transactions at most.",
        table(columns, named(result["models"])),
    ]


def soundness(result: Result) -> list[str]:
    columns = [
        Column("family", "name", text),
        Column("elements", "elements", count),
        Column("outside the bound", "violations", count),
        Column("worst error / bound", "worst_ratio", ratio),
        Column("verdicts", "chain_cases", count),
        Column("unsound", "chain_unsound", count),
        Column("missing", "chain_unprovable", count),
    ]
    return [
        "Results of real kernels, and of simulated ones that add in other orders, fuse, or flush "
        "subnormals, on ordinary and hostile inputs. A bound is sound if none lies outside it, so that no "
        "honest prover loses by a proof. The deployed adjudicators were asked about elements of such results, "
        "whose refutation would be unsound, and about claims 1.01 times the bound away (or not bit-equal), where "
        "a refutation is missing unless it is given. Attention is traced as products and a softmax, and its "
        "fused form is decided by no contract.",
        table(columns, named(result["families"])),
    ]


def variants(result: Result) -> list[str]:
    families = list(next(iter(result["variants"].values()))["families"])
    records = [
        record | {family: found["worst_ratio"] for family, found in record["families"].items()}
        for record in named(result["variants"])
    ]
    columns = [
        Column("variant", "name", text),
        Column("elements", "elements", count),
        Column("other than native", "different", count),
        Column("outside the bound", "violations", count),
        *(Column(family, family, ratio) for family in families),
    ]
    outside = [
        Column("variant", "name", text),
        Column("what it is", "description", text),
        Column("elements outside, by operator", "outside", text),
    ]
    return [
        "The calls of the section before, and some of the sizes in networks, all variants on the same inputs, run by "
        "every kernel variant of this processor in a process of its own: its own kernels, none that are simulated. Of "
        "each family, the worst error over the bound. Sums of few terms and single roundings come near to their "
        "bounds, and there all kernels agree. Operators that another runtime does not compute are left to the kernels "
        "as installed.",
        table(columns, records),
        "Other runtimes take part in a calibration only where they are named. An operator outside "
        "its bound is one whose kernel is outside the model, which asks for some units in the last place of every "
        "result: TorchInductor computes `expm1` as `exp(x) - 1`, which is wrong in every digit near zero. Provers must "
        "not compute it by such a kernel.",
        table(outside, records),
    ]


def bounds(result: Result) -> list[str]:
    columns = [
        Column("network", "name", text),
        Column("nodes", "nodes", count),
        Column("elements bounded", "elements_bounded", count),
        Column("median cost of the bounds / pass", "ratio_median", ratio),
        Column("90th percentile", "ratio_p90", ratio),
    ]
    return [
        "What computing the worst-case bound of every element of every operator's output adds to a forward pass, in "
        "times of the pass itself; passes with and without take turns in one process.",
        table(columns, named(result["models"])),
    ]


def tightness(result: Result) -> list[str]:
    details = [
        {"model": model, **record}
        for model, families in result["details"].items()
        for record in named(families)
    ]
    columns = [
        Column("model", "model", text),
        Column("family", "name", text),
        Column("nodes", "nodes", count),
        Column("nodes bit-equal", "nodes_bit_equal", count),
        Column("median bound / deviation", "ratio_median"),
        Column("at most", "ratio_max"),
        Column("largest bound / deviation", "ratio_of_largest_median"),
    ]
    judged = [
        Column("devices calibrated on", "variants_calibrated", text),
        Column("runs of operators that round", "operator_runs", count),
        Column("of them bit-equal on all devices", "operator_runs_bit_equal", count),
        Column("rejected (false positives)", "false_positives", count),
        Column("by family", "false_positives_by_family", text),
        Column("false-positive rate", "false_positive_rate", share),
        Column("largest exceedance (above 1 is rejected)", "largest_exceedance", ratio),
        Column("99th percentile of exceedances", "exceedance_p99", ratio),
        Column("runs of exact operators", "exact_operator_runs", count),
        Column("of them rejected", "exact_operator_runs_rejected", count),
    ]
    setting = [
        Column("devices judged", "variants_held_out", text),
        Column("safety factor", "safety"),
        Column("inputs calibrated on, of each model", "inputs_calibrated", count),
        Column("inputs judged, of each model", "inputs_held_out", count),
    ]
    missed = []
    if partial := result.get("partial_calibration"):
        missed = [
            f"Thresholds know only what calibration saw. {partial['model']} again, calibrated on devices "
            "most of whose convolutions come from the same kernels and so agree bit for bit:",
            listing(partial, *judged),
        ]
    drifted = []
    if segments := result.get("segments"):
        drifted = [
            "The ends of all segments of these runs, which each other device replays; one device that rejects is no "
            "verdict, which takes most members of a panel:",
            listing(
                segments | {"safety": result["segment_safety"]},
                Column("ends judged", "judged", count),
                Column("rejected (false positives)", "false_positives", count),
                Column("largest exceedance (above 1 is rejected)", "largest_exceedance", ratio),
                Column("99th percentile of exceedances", "exceedance_p99", ratio),
                Column("safety factor of segments", "safety"),
            ),
        ]
    where = []
    if rejected := result.get("rejected"):
        columns_rejected = [
            Column("operator rejected", "operator", text),
            Column("run by", "variant", text),
            Column("runs", "runs", count),
        ]
        where = ["All runs that were rejected:", table(columns_rejected, rejected)]
    return [
        "How far the worst-case bound lies above what devices really deviate by. At every node, the median "
        "over elements of the bound is divided by the largest deviation between any two calibrated devices; "
        "the table has the median and the largest of these ratios over the nodes of a family, and the "
        "median for the largest bound of the node. The median ratio may be below 1 where elements differ "
        "much in size: the largest deviation is then met where the bound is large, too. Nodes on which all "
        "devices agree bit for bit have no deviation and are counted apart. MiniLM has its published "
        "weights, the other networks random ones.",
        f"![bound over deviation, by operator family and model]({PICTURE.name})",
        table(columns, details),
        "Thresholds from half of the devices and half of the inputs, applied to the other devices on the "
        "other inputs. A run is one operator on one device and input; it is a false positive if any other "
        "device rejects it.",
        listing(result, *judged, *setting),
        *where,
        *drifted,
        *missed,
    ]


def honest(result: Result) -> list[str]:
    graph = result["whole_graph"]
    ratios = graph["drift_ratio_of_cheats"]
    cheats = [
        {"cheat": name, "excess": x, "ratio": ratios[name]} for name, x in graph["excess_of_cheats"].items()
    ]
    return [
        f"{result['model']}, run by one device and judged by another; of {len(result['variants'])} devices "
        f"{len(result['variants_not_calibrated'])} were not calibrated on. First the challenger's test of "
        "the whole graph: it disputes outputs that exceed what it accepts of this model, which is 1. (The drift "
        "ratio is its test of models without thresholds for the whole graph.)",
        listing(
            graph,
            Column("claims", "claims", count),
            Column("false alarms", "false_alarms", count),
            Column("excess, median", "excess_median", ratio),
            Column("excess, largest", "excess_max", ratio),
            Column("drift ratio, median", "drift_ratio_median"),
            Column("drift ratio, largest", "drift_ratio_max"),
            Column("threshold of the drift ratio", "drift_threshold"),
        ),
        "The same of cheats:",
        table(
            [Column("cheat", "cheat", text), Column("excess", "excess"), Column("drift ratio", "ratio")],
            cheats,
        ),
        "Every operator against its thresholds:",
        listing(
            result["operators"],
            Column("operators judged", "judged", count),
            Column("false alarms", "false_alarms", count),
            Column("exceedance, 99th percentile", "exceedance_p99", ratio),
            Column("exceedance, largest", "exceedance_max", ratio),
        ),
        "Every element of a contraction against the provable bound:",
        listing(
            result["contractions"],
            Column("elements", "elements", count),
            Column("refutable", "refutable", count),
            Column("error / bound, largest", "excess_max", ratio),
        ),
    ]


def overhead(result: Result) -> list[str]:
    columns = [
        Column("model", "name", text),
        Column("time, median", "ratio_median", ratio),
        Column("time, 90th percentile", "ratio_p90", ratio),
        Column("control, median", "control_ratio_median", ratio),
        Column("peak memory", "peak_memory_ratio", ratio),
        Column("plain run, s", "seconds_plain"),
        Column("commitment, s", "seconds_commitment"),
    ]
    return [
        "The committed run over the plain one, and, as a control, the plain one over itself: what lies "
        "within the control's distance from 1 is noise.",
        table(columns, named(result["models"])),
    ]


def gas(result: Result) -> list[str]:
    proofs = [
        {"proof": name.replace("_", " of "), "proof_gas": used, "alone": result["adjudicator"].get(name)}
        for name, used in result["proof"].items()
    ]
    families = [{"element": name.replace("_", " "), "gas": used} for name, used in result["families"].items()]
    posts = [{"function": f"`{name}`", "gas": used} for name, used in result["posts"].items()]
    functions = [{"function": f"`{name}`", "gas": used} for name, used in result["functions"].items()]
    deployment, dispute = result["deployment"], result["dispute_minilm"]
    return [
        f"EVM version {result['evm']}. A deployment: {count(deployment['transactions'])} transactions, "
        f"{count(deployment['gas'])} gas. Proofs of one element by the number of values it is made of, "
        "as a move of the game and by the adjudicator alone. At 4096 products both columns, and from 384 on the "
        "adjudicator's, are the price of calldata (EIP-7623), not of computation:",
        table(
            [
                Column("proof", "proof", text),
                Column("in the game", "proof_gas", count),
                Column("adjudicator", "alone", count),
            ],
            proofs,
        ),
        "Proofs of one element of other operators, by the adjudicator alone; a number says how many values the element "
        "is made of, and what is rounded is of a training step:",
        table([Column("element", "element", text), Column("gas", "gas", count)], families),
        f"One record of {count(result['posted_lanes'])} numbers of a long sum, or of as many products, by the contract "
        "that keeps it:",
        table([Column("function", "function", text), Column("gas", "gas", count)], posts),
        "A dispute of int8 weights in MiniLM, from the opening to the proof: "
        f"{count(dispute['transactions'])} transactions, {count(dispute['gas'])} gas. The dearest "
        "call of each function, in disputes of a six-operator model with a fan-out of 4, an accusation about "
        "1,024 products and a dispute about one sum of 250,000 numbers; proofs of longer rows cost more, as the "
        "table above shows, because they open more values:",
        table([Column("function", "function", text), Column("gas", "gas", count)], functions),
    ]


def hashing(result: Result) -> list[str]:
    return [
        f"What committing {result['mebibytes']:,} MiB of float32 costs on all cores, beside hashing the same bytes "
        "in blocks of a leaf's size with nothing else around it. A gigabyte a second is that of the tensor.",
        listing(
            result,
            Column("hashing blocks, GB/s", "blocks_gb_per_s"),
            Column("committing, GB/s", "commit_gb_per_s"),
            Column("committing / hashing blocks", "commit_over_blocks", ratio),
            Column("committing a transposed tensor, GB/s", "commit_transposed_gb_per_s"),
            Column("hashing blocks on one core, GB/s", "blocks_one_core_gb_per_s"),
            Column("an ordinary library on one core, GB/s", "library_one_core_gb_per_s"),
            Column("committing 4 KiB, microseconds", "commit_4_kib_us"),
            Column("memory beyond the tensor, of its size", "memory_beyond_tensor", ratio),
        ),
    ]


def sums(result: Result) -> list[str]:
    rows = [
        {
            "lanes": int(lanes),
            "accepted": ways["accepted"]["gas"],
            "doubted": ways["doubted"]["gas"],
            "moves": len(ways["doubted"]["moves"]),
            "transactions": ways["posted"]["transactions"],
            "posted": ways["posted"]["gas_estimate"],
        }
        for lanes, ways in result["lanes"].items()
    ]
    return [
        f"A dispute about one mean, from its opening to the proof, with a fan-out of {result['fan_out']}: "
        f"the gas (EVM version {result['evm']}) of both sides "
        "where the prover accepts the asserted sums, and where it doubts true ones at every turn. In the "
        "last columns, what posting all pieces would take the challenger, by its own estimate:",
        table(
            [
                Column("numbers", "lanes", count),
                Column("accepted: gas", "accepted", count),
                Column("doubted: gas", "doubted", count),
                Column("moves", "moves", count),
                Column("posted: transactions", "transactions", count),
                Column("gas", "posted", count),
            ],
            rows,
        ),
    ]


def demo(result: Result) -> list[str]:
    return [
        f"{result['model']['name']}, {count(result['model']['operators'])} operators, on a local chain. "
        "Slashed is whoever lost a bond: a cheating prover or, in the last row, a malicious challenger. "
        "Finalised says whether the claim stood.",
        scenes(result, Column("who", "title", text), Column("operator found", "operator", text)),
    ]
