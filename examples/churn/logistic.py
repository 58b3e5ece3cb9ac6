"""Logistic regression by iteratively reweighted least squares, and its metrics.

Plain Python: four hundred thousand multiplications a pass need no library, and
without one the artifacts do not depend on anybody's BLAS.
"""

import math

RIDGE = 1.0       # on standardised features; keeps collinear ones from running away
ITERATIONS = 8    # Newton's steps; the last changes nothing at the printed precision
TRANSFORMS = {"identity": float, "log1p": math.log1p}


def sigmoid(z):
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def solve(matrix, right):
    """Gaussian elimination with partial pivoting."""
    size = len(right)
    rows = [row[:] + [right[i]] for i, row in enumerate(matrix)]
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(i + 1, size):
            factor = rows[k][i] / rows[i][i]
            for j in range(i, size + 1):
                rows[k][j] -= factor * rows[i][j]
    x = [0.0] * size
    for i in reversed(range(size)):
        x[i] = (rows[i][size] - sum(rows[i][j] * x[j] for j in range(i + 1, size))) / rows[i][i]
    return x


def newton_step(beta, design, labels):
    size = len(beta)
    gradient = [0.0] * size
    hessian = [[0.0] * size for _ in range(size)]
    for z, label in zip(design, labels):
        p = sigmoid(sum(u * w for u, w in zip(z, beta)))
        weight, error = p * (1 - p), label - p
        for i in range(size):
            gradient[i] += error * z[i]
            weighted, row = weight * z[i], hessian[i]
            for j in range(i, size):
                row[j] += weighted * z[j]
    for i in range(size):
        for j in range(i):
            hessian[i][j] = hessian[j][i]
        if i:  # the intercept is not shrunk
            hessian[i][i] += RIDGE
            gradient[i] -= RIDGE * beta[i]
    return [b + step for b, step in zip(beta, solve(hessian, gradient))]


def fit(rows, labels, columns):
    """The artifact's `intercept` and `features` for `columns`, a list of (name, transform)."""
    raw = [[TRANSFORMS[t](row[name]) for name, t in columns] for row in rows]
    means = [sum(c) / len(c) for c in zip(*raw)]
    scales = [math.sqrt(sum((v - m) ** 2 for v in c) / len(c)) for c, m in zip(zip(*raw), means)]
    design = [[1.0] + [(v - m) / s for v, m, s in zip(r, means, scales)] for r in raw]
    beta = [0.0] * (len(columns) + 1)
    for _ in range(ITERATIONS):
        beta = newton_step(beta, design, labels)
    # Nine digits: far beyond what the data says, short of where two libms differ.
    rounded = [float(f"{b:.9g}") for b in beta]
    features = [
        {"name": name, "transform": t, "mean": float(f"{m:.9g}"), "scale": float(f"{s:.9g}"), "coefficient": b}
        for (name, t), m, s, b in zip(columns, means, scales, rounded[1:])
    ]
    return rounded[0], features


def score(artifact, row):
    """The probability that the customer will not buy; the model server computes the same."""
    z = artifact["intercept"]
    for f in artifact["features"]:
        z += f["coefficient"] * (TRANSFORMS[f["transform"]](row[f["name"]]) - f["mean"]) / f["scale"]
    return sigmoid(z)


def auc(scores, labels):
    """Area under the ROC curve by ranks; ties count half."""
    ordered = sorted(zip(scores, labels))
    positives = sum(labels)
    rank_sum, start = 0.0, 0
    while start < len(ordered):
        end = start
        while end < len(ordered) and ordered[end][0] == ordered[start][0]:
            end += 1
        rank_sum += sum(label for _, label in ordered[start:end]) * (start + end + 1) / 2
        start = end
    return (rank_sum - positives * (positives + 1) / 2) / (positives * (len(ordered) - positives))


def metrics(artifact, rows, labels):
    """AUC, Brier score, hit rate, its standard error, and the share of customers selected."""
    scores = [score(artifact, row) for row in rows]
    judged = [label for s, label in zip(scores, labels) if s >= artifact["threshold"]]
    hit = sum(judged) / len(judged) if judged else float("nan")
    return {
        "auc": auc(scores, labels),
        "brier": sum((s - y) ** 2 for s, y in zip(scores, labels)) / len(labels),
        "judged": len(judged),
        "selected": len(judged) / len(rows),
        "hit_rate": hit,
        "standard_error": math.sqrt(hit * (1 - hit) / len(judged)) if judged else float("nan"),
    }
