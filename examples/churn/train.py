"""Trains the three churn models of the demo and writes the live requests that judge them.

    python3 examples/churn/train.py --out /tmp/churn

Needs Python 3.10 or newer with pip, and no other package. The same input gives
the same bytes. README.md says what is trained, and on what.
"""

import argparse
import datetime
import hashlib
import json
import pathlib
import random

from history import FEATURES, HORIZON_DAYS, default_cache, purchases, snapshot, wheel
from logistic import fit, metrics, score

# Three blocks of time; a block's outcomes are complete before the next begins.
TRAIN = [datetime.date(1997, m, 1) for m in (6, 7, 8)]
VALIDATE = [datetime.date(1997, 11, 1)]
LIVE = [datetime.date(1998, m, 1) for m in (2, 3, 4)]
MAIL_BUDGET = 0.30  # the share of the validation customers a model may select
SEED = 1997

RFM = [("recency_days", "identity"), ("orders", "identity"), ("mean_order_value", "identity")]
RICH = [(name, "log1p") for name in FEATURES if name not in ("orders_this_quarter", "active_months", "mean_gap_days")]
RICH.append(("active_months", "identity"))


class Block:
    """The customers of some snapshots, as known that morning and as exported afterwards."""

    def __init__(self, history, dates):
        rows = [(date, *row) for date in dates for row in snapshot(history, date)]
        self.keys = [(date, customer) for date, customer, _, _, _ in rows]
        self.known = [known for _, _, known, _, _ in rows]
        self.exported = [exported for _, _, _, exported, _ in rows]
        self.labels = [int(churned) for _, _, _, _, churned in rows]


def artifact(version, description, rows, labels, columns, budget_rows):
    intercept, features = fit(rows, labels, columns)
    model = {
        "format": "werkbank-example/logistic-v1",
        "name": "churn",
        "version": version,
        "description": description,
        "horizon_days": HORIZON_DAYS,
        "trained_on_rows": len(rows),
        "intercept": intercept,
        "features": features,
        "threshold": 0.0,
    }
    ranked = sorted((score(model, row) for row in budget_rows), reverse=True)
    model["threshold"] = float(f"{ranked[int(len(ranked) * MAIL_BUDGET)]:.9g}")
    return model


def models(train, validate):
    """The three versions, each with the offline metrics its author saw."""
    v1 = artifact("v1", "recency, frequency, monetary value", train.known, train.labels, RFM, validate.known)
    leaky = RFM + [("orders_this_quarter", "identity")]
    v2 = artifact("v2", "v1 and the quarter's orders, trained on an export that contains the rest of the quarter",
                  train.exported, train.labels, leaky, validate.exported)
    trial = artifact("v3", "", train.known, train.labels, RICH, validate.known)
    v3 = artifact("v3", "purchase rhythm, recent activity and basket, refitted up to the newest known outcomes",
                  train.known + validate.known, train.labels + validate.labels, RICH, validate.known)
    return [
        (v1, metrics(v1, validate.known, validate.labels)),
        (v2, metrics(v2, validate.exported, validate.labels)),
        (v3, metrics(trial, validate.known, validate.labels)),  # before the refit: v3 has seen the validation block
    ]


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, sort_keys=True) + "\n"
    path.write_bytes(text.encode())
    return hashlib.sha256(text.encode()).hexdigest()


def replay_lines(live):
    """One line per customer and snapshot: the request a service would send, and apart from it what happened."""
    order = list(range(len(live.keys)))
    random.Random(SEED).shuffle(order)  # customer numbers run by cohort; within a morning they come in any order
    for i in sorted(order, key=lambda i: live.keys[i][0]):
        date, customer = live.keys[i]
        inputs = [
            {"name": name, "shape": [1], "datatype": "FP64", "data": [live.known[i][name]]} for name in FEATURES
        ]
        line = {
            "snapshot": date.isoformat(),
            "request": {"id": f"{date.isoformat()}-{customer}", "inputs": inputs},
            "outcome": {"bought": not live.labels[i]},
        }
        yield json.dumps(line, separators=(",", ":")) + "\n"


def table(title, rows):
    print(f"\n{title}")
    print("  model    AUC  Brier  selected  judged  hit rate  ± standard error")
    for version, m in rows:
        print(f"  {version:5} {m['auc']:.3f}  {m['brier']:.3f}    {m['selected']:5.1%}  {m['judged']:6}"
              f"    {m['hit_rate']:5.1%}  ± {m['standard_error']:.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="directory for models and requests")
    parser.add_argument("--cache", type=pathlib.Path, default=default_cache(), help="where the data wheel is kept")
    options = parser.parse_args()

    history = purchases(wheel(options.cache))
    train, validate, live = (Block(history, dates) for dates in (TRAIN, VALIDATE, LIVE))
    for name, block in (("train", train), ("validate", validate), ("live", live)):
        share = sum(block.labels) / len(block.labels)
        print(f"{name:8} {len(block.labels):6} customers × snapshots, {share:.1%} did not buy in {HORIZON_DAYS} days")

    trained = models(train, validate)
    judged = {m["version"]: metrics(m, live.known, live.labels) for m, _ in trained}
    table("offline, as each author saw it (snapshot 1997-11-01)", [(m["version"], o) for m, o in trained])
    table("live months (1998-02, 03, 04), features as known that morning", list(judged.items()))

    print()
    for model, _ in trained:
        path = options.out / model["version"] / "model.json"
        print(f"{path}  sha256:{write_json(path, model)}")
    requests = options.out / "requests.jsonl"
    with requests.open("w", newline="\n") as file:
        file.writelines(replay_lines(live))
    print(f"{requests}  {len(live.keys)} requests")
    report = {m["version"]: {"offline": offline, "live": judged[m["version"]]} for m, offline in trained}
    write_json(options.out / "metrics.json", report)


if __name__ == "__main__":
    main()
