"""python3 -m unittest discover --start-directory examples/churn   (needs no data, takes no time)"""

import datetime
import unittest

from history import as_exported, features, quarter, snapshot
from logistic import auc, fit, metrics, score


def day(month, day_of_month, year=1997):
    return datetime.date(year, month, day_of_month).toordinal()


class Features(unittest.TestCase):
    days = [day(1, 10), day(4, 10), day(6, 20), day(8, 5)]
    baskets = [(1, 10.0), (2, 30.0), (1, 20.0), (5, 99.0)]
    date = datetime.date(1997, 7, 1)

    def test_look_only_at_purchases_before_the_snapshot(self):
        row = features(self.days, self.baskets, self.date)
        self.assertEqual(row, features(self.days[:3], self.baskets[:3], self.date))
        self.assertEqual((row["orders"], row["recency_days"], row["mean_order_value"]), (3, 11, 20.0))

    def test_the_leaked_feature_alone_sees_the_rest_of_the_quarter(self):
        row = features(self.days, self.baskets, self.date)
        leaked = as_exported(row, self.days, self.date)
        self.assertEqual((row.pop("orders_this_quarter"), leaked.pop("orders_this_quarter")), (0, 1))
        self.assertEqual(row, leaked)

    def test_quarters_end_where_the_next_begins(self):
        self.assertEqual(quarter(datetime.date(1997, 12, 31)), (day(10, 1), day(1, 1, 1998)))
        self.assertEqual(quarter(datetime.date(1998, 1, 1)), (day(1, 1, 1998), day(4, 1, 1998)))

    def test_the_mail_is_for_repeat_customers_who_are_not_lost(self):
        history = {
            "once": ([day(6, 1)], [(1, 1.0)]),
            "lost": ([day(12, 30, 1996), day(1, 1)], [(1, 1.0)] * 2),
            "leaves": ([day(5, 1), day(6, 1)], [(1, 1.0)] * 2),
            "returns on the last day": ([day(5, 1), day(6, 1), day(9, 28)], [(1, 1.0)] * 3),
            "returns a day late": ([day(5, 1), day(6, 1), day(9, 29)], [(1, 1.0)] * 3),
        }
        churned = {customer: label for customer, _, _, label in snapshot(history, self.date)}
        self.assertEqual(churned, {"leaves": True, "returns on the last day": False, "returns a day late": True})


class Regression(unittest.TestCase):
    def test_recovers_the_direction_and_the_base_rate(self):
        rows = [{"x": x} for x in range(10) for _ in range(10)]
        labels = [int(i % 10 < x) for i, x in enumerate(r["x"] for r in rows)]
        intercept, columns = fit(rows, labels, [("x", "identity")])
        model = {"intercept": intercept, "features": columns, "threshold": 0.5}
        scores = [score(model, r) for r in rows]
        self.assertGreater(columns[0]["coefficient"], 1)
        self.assertAlmostEqual(sum(scores), sum(labels), places=6)

    def test_auc_counts_ties_half(self):
        self.assertEqual(auc([0.1, 0.9], [0, 1]), 1.0)
        self.assertEqual(auc([0.5, 0.5], [0, 1]), 0.5)
        self.assertEqual(auc([0.9, 0.1], [0, 1]), 0.0)

    def test_the_hit_rate_judges_the_selected_only(self):
        column = {"name": "x", "transform": "identity", "mean": 0, "scale": 1, "coefficient": 1}
        model = {"intercept": 0, "features": [column], "threshold": 0.5}
        judged = metrics(model, [{"x": 1}, {"x": 0}, {"x": -1}, {"x": -2}], [1, 0, 1, 0])
        self.assertEqual((judged["judged"], judged["selected"], judged["hit_rate"]), (2, 0.5, 0.5))


if __name__ == "__main__":
    unittest.main()
