"""The learned latency predictor on two public tables of whole-network latencies.

    python benchmarks/latency_predictor.py --data DIR [--tables ofa nb201] [--train 50 100 200 900] [--seeds 5]

DIR holds `ofa_mbv3_latency.parquet` (5,000 Once-for-All MobileNetV3 subnets) and `nb201.parquet` (NAS-Bench-201's
15,625 cells). For each latency column and number of training samples: the share of all other networks predicted within
5 % and 10 %, and Spearman's rank correlation, mean over seeds; beside it a linear model on MACs, and our model with
the other devices' latencies as features (`transfer`). `ceiling` is the share within 10 % after 1,500 samples, which the
noise of the measurements limits. With `--out FILE.csv` a stopped benchmark resumes when started again.
"""

import argparse
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd

from aebnas.cost.counts import count_graph
from aebnas.cost.latency.predictor import LatencyPredictor, feature_matrix, graph_features
from aebnas.runtime.graph import INPUT, Graph, GraphExit, Node

OFA_WIDTHS, OFA_STRIDES = (24, 40, 80, 112, 160), (2, 2, 2, 1, 2)
OFA_SE, OFA_HSWISH = (False, True, False, True, True), (False, False, True, True, True)
OFA_PLACES = 4
NB201_OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NB201_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NB201_STAGES = ((16, 32), (32, 16), (64, 8))
"""Channels and side of the maps in its three stages of five cells."""
CEILING_SAMPLES = 1500


def ofa_graph(text: str) -> Graph:
    """A Once-for-All MobileNetV3 subnet (width 1.0); its two last layers are one classifier."""
    choices = json.loads(text)
    side = choices["r"]
    nodes = [
        Node.make("stem", "conv", (INPUT,), in_channels=3, out_channels=16, kernel=3, stride=2, act="hswish"),
        _mbconv("stage0_block1", "stem", 16, 16, 3, 1, 1.0, False, "relu"),
    ]
    channels = 16
    for stage, (width, stride) in enumerate(zip(OFA_WIDTHS, OFA_STRIDES, strict=True)):
        act = "hswish" if OFA_HSWISH[stage] else "relu"
        for block in range(choices["d"][stage]):
            place = OFA_PLACES * stage + block
            kernel, expand = choices["ks"][place], float(choices["e"][place])
            name = f"stage{stage + 1}_block{block + 1}"
            nodes.append(
                _mbconv(
                    name, nodes[-1].name, channels, width, kernel, 1 if block else stride, expand, OFA_SE[stage], act
                )
            )
            channels = width
    attrs = {"in_channels": channels, "out_channels": 960, "kernel": 1, "stride": 1, "act": "hswish"}
    nodes.append(Node.make("widen", "conv", (nodes[-1].name,), **attrs))
    nodes.append(Node.make("head", "classifier", ("widen",), in_channels=960, classes=1000))
    return Graph((3, side, side), tuple(nodes), (GraphExit("widen", "head"),))


def _mbconv(
    name: str, before: str, width: int, out: int, kernel: int, stride: int, expand: float, se: bool, act: str
) -> Node:
    attrs = {"in_channels": width, "out_channels": out, "kernel": kernel, "stride": stride}
    return Node.make(name, "mbconv", (before,), **attrs, expand=expand, se=se, act=act)


def nb201_features(text: str) -> dict[str, float]:
    """Features of a NAS-Bench-201 cell: its ops by edge and in total, and the same for edges on paths to the output."""
    ops = re.findall(r"([a-z_0-9]+)~\d", text)
    into = {0}
    for (start, end), op in zip(NB201_EDGES, ops, strict=True):
        if op != "none" and start in into:
            into.add(end)
    out_of = {3}
    for (start, end), op in reversed(list(zip(NB201_EDGES, ops, strict=True))):
        if op != "none" and end in out_of:
            out_of.add(start)
    found: dict[str, float] = {}
    weight_macs = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}
    macs, longest = 0.0, [0.0] * 4
    for (start, end), op in zip(NB201_EDGES, ops, strict=True):
        alive = op != "none" and start in into and end in out_of
        for key in (f"{op}", f"{start}-{end} {op}", f"{start}-{end} {op} alive" if alive else "", f"into {end} {op}"):
            found[key] = found.get(key, 0.0) + 1
        if alive:
            found[f"{op} alive"] = found.get(f"{op} alive", 0.0) + 1
            longest[end] = max(longest[end], longest[start] + (op != "skip_connect"))
        macs += sum(5 * width * width * side * side * weight_macs.get(op, 0) for width, side in NB201_STAGES)
    found |= {"longest": longest[3], "macs": macs, "log macs": math.log(macs + 1e7), "connected": float(0 in out_of)}
    found |= {"adds": sum(max(0, sum(found.get(f"into {e} {op}", 0) for op in NB201_OPS[1:]) - 1) for e in (1, 2, 3))}
    found.pop("", None)
    return found


def load(folder: Path, table: str) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """(features, MACs, latency columns) of a table."""
    if table == "ofa":
        frame = pd.read_parquet(folder / "ofa_mbv3_latency.parquet")
        graphs = [ofa_graph(text) for text in frame["arch"]]
        macs = np.array([count_graph(graph).macs.total for graph in graphs])
        features = feature_matrix([graph_features(graph) for graph in graphs])
    else:
        frame = pd.read_parquet(folder / "nb201.parquet")
        rows = [nb201_features(text) for text in frame["arch"]]
        macs, features = np.array([row["macs"] for row in rows]), feature_matrix(rows)
    features = features[:, features.std(0) > 0]
    latencies = frame[[name for name in frame if name.startswith("lat_ms_")]]
    return features, macs, latencies


def score(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """(share within 5 %, share within 10 %, Spearman)."""
    errors = np.abs(predicted / measured - 1)
    ranks = pd.Series(predicted).rank().corr(pd.Series(measured).rank())
    return np.array([(errors <= 0.05).mean(), (errors <= 0.1).mean(), ranks])


def linear(macs: np.ndarray, latency_ms: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Predictions at `at` of a line fitted to MACs and latency."""
    slope, start = np.polyfit(macs, latency_ms, 1)
    return slope * at + start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/nas"))
    parser.add_argument("--tables", nargs="+", default=["ofa", "nb201"], choices=["ofa", "nb201"])
    parser.add_argument("--train", nargs="+", type=int, default=[50, 100, 200, 900])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--columns", nargs="*", help="only these latency columns")
    parser.add_argument("--out", type=Path, help="a CSV file for the table")
    options = parser.parse_args()

    done = pd.read_csv(options.out) if options.out and options.out.exists() else pd.DataFrame(columns=KEYS)
    found = {tuple(row[key] for key in KEYS): row for row in done.to_dict("records")}
    whole = {tuple(row[key] for key in KEYS) for row in done.dropna().to_dict("records")}
    ceilings = {key[:2]: row["ceiling_within10"] for key, row in found.items()}
    heads = "".join(f"{name:>24}" for name in ("ours", "linear on MACs", "transfer"))
    print(f"{'':<36}{heads}{'ceiling':>9}\n{'column':<28}{'train':>8}" + "      <5%   <10%    rho " * 3)
    for table in options.tables:
        features, macs, latencies = load(options.data, table)
        for column in options.columns or list(latencies):
            if column not in latencies:
                continue
            measured = latencies[column].to_numpy()
            # columns of the same device with another batch size are excluded
            device = column.rsplit("_", 1)[0]
            others = latencies[[name for name in latencies if name.rsplit("_", 1)[0] != device]].to_numpy()
            missing = [train for train in options.train if (table, column, train) not in whole]
            if not missing:
                continue
            ceiling = ceilings.get((table, column)) or ceiling_of(features, measured)
            for train in missing:
                scores = []
                for seed in range(options.seeds):
                    order = np.random.default_rng(seed).permutation(len(measured))
                    seen, new = order[:train], order[train:]
                    ours = LatencyPredictor().fit(features[seen], measured[seen])
                    helped = LatencyPredictor().fit(features[seen], measured[seen], others[seen])
                    scores.append(
                        [
                            score(ours.predict(features[new]), measured[new]),
                            score(linear(macs[seen], measured[seen], macs[new]), measured[new]),
                            score(helped.predict(features[new], others[new]), measured[new]),
                        ]
                    )
                mean = np.mean(scores, axis=0)
                cells = "".join(f"{100 * a:9.1f}{100 * b:7.1f}{r:8.3f}" for a, b, r in mean)
                print(f"{column:<28}{train:>8}{cells}{100 * ceiling:>9.1f}", flush=True)
                names = ("ours", "macs", "transfer")
                figures = {
                    f"{n}_{k}": v for n, row in zip(names, mean, strict=True) for k, v in zip(KINDS, row, strict=True)
                }
                key = (table, column, train)
                found[key] = dict(zip(KEYS, key, strict=True)) | {"ceiling_within10": ceiling} | figures
                if options.out:
                    options.out.parent.mkdir(parents=True, exist_ok=True)
                    pd.DataFrame(list(found.values())).round(4).to_csv(options.out, index=False)
    for table in options.tables:
        at = [row for row in found.values() if row["table"] == table and row["train"] == 200]
        if at:
            reached = [row["column"] for row in at if row["ours_within10"] >= 0.9]
            print(f"{table}, 200 samples: {len(reached)} of {len(at)} columns have 90 % within 10 %")


KEYS = ("table", "column", "train")
KINDS = ("within5", "within10", "spearman")


def ceiling_of(features: np.ndarray, measured: np.ndarray) -> float:
    """Share within 10 % after a fit to many more samples than would be measured in practice."""
    order = np.random.default_rng(99).permutation(len(measured))
    seen, new = order[:CEILING_SAMPLES], order[CEILING_SAMPLES:]
    return float(score(LatencyPredictor().fit(features[seen], measured[seen]).predict(features[new]), measured[new])[1])


if __name__ == "__main__":
    main()
