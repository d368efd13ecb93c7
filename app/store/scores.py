"""Sums of the scores of drift-robust figures, in SQL: of what was decided and earned under each allocation.

ξ_i = m_i + 1{A=i} (r − m_i)/p_i is an arm's score at a decision (bandits/drift_robust.py): p_i is its probability and
m_i its posterior mean, as stored with the allocation. Over the N outcomes of an allocation, with
C_i = Σ_{A=i} (r − m_i)/p_i and D_i = Σ_{A=i} (r − m_i)²/p_i²,

    Σξ_i = N m_i + C_i                            Σξ_i² = N m_i² + 2 m_i C_i + D_i
    Σ(ξ_i − ξ_c) = N s + C_i − C_c                Σ(ξ_i − ξ_c)² = N s² + 2 s (C_i − C_c) + D_i + D_c,   s = m_i − m_c,

since at most one of two scores is corrected at a decision. C and D follow from counts and sums of the rewards. They are
linear in these, so it does not matter in how many parts outcomes are counted. Exposures without feedback are outcomes
of the default: an exposure adds one, and feedback takes it back, wherever the two are counted.
"""

__all__ = ["COLUMNS", "CONTRACTS", "SCORED"]

# Of the arm alone: N where it could be chosen, Σξ, Σξ²; of the arm and the control: the same of ξ_i − ξ_control, where
# both could be chosen.
COLUMNS = ("eligible", "score", "score_squares", "paired", "contrast", "contrast_squares")

# What outcomes of each epoch mean. Epochs without a control began before outcomes were counted by allocation.
CONTRACTS = """
    SELECT epoch, contract ->> 'control' AS control, contract -> 'reward' ->> 'metric' AS metric,
           (contract -> 'reward' ->> 'default')::float8 AS reward,
           (contract -> 'reward' ->> 'missing' = 'default')::int AS fills
    FROM contracts WHERE experiment = :experiment"""

# From `cells` (epoch, allocation, at, arm, silent, n, sum, sum_of_squares) of the reward's outcomes, and `contracts`:
# `scored` (epoch, at, arm, and the columns). `silent` counts outcomes of the default.
SCORED = """
dealt AS (
    SELECT t.epoch, t.allocation, t.at, t.total, p.key AS arm, p.value::float8 AS p, k.control, k.reward,
           coalesce((a.means ->> p.key)::float8, 0) AS m
    FROM (SELECT epoch, allocation, at, sum(silent + n) AS total FROM cells GROUP BY epoch, allocation, at) t
    JOIN contracts k ON k.epoch = t.epoch AND k.control IS NOT NULL
    JOIN allocations a ON a.experiment = :experiment AND a.number = t.allocation
    CROSS JOIN jsonb_each(a.probabilities) p
    WHERE p.value::float8 > 0
), corrected AS (
    SELECT d.*, coalesce((silent * (reward - m) + sum - n * m) / p, 0) AS c,
           coalesce((silent * (reward - m) ^ 2 + sum_of_squares - 2 * m * sum + n * m ^ 2) / p ^ 2, 0) AS c_squares
    FROM dealt d LEFT JOIN cells USING (epoch, allocation, at, arm)
), scored AS (
    SELECT i.epoch, i.at, i.arm, sum(i.total) AS eligible, sum(i.total * i.m + i.c) AS score,
           sum(i.total * i.m ^ 2 + 2 * i.m * i.c + i.c_squares) AS score_squares,
           coalesce(sum(k.total), 0) AS paired,
           coalesce(sum(k.total * (i.m - k.m) + i.c - k.c), 0) AS contrast,
           coalesce(sum(k.total * (i.m - k.m) ^ 2 + 2 * (i.m - k.m) * (i.c - k.c) + i.c_squares + k.c_squares), 0)
               AS contrast_squares
    FROM corrected i
    LEFT JOIN corrected k ON k.epoch = i.epoch AND k.allocation = i.allocation AND k.at = i.at
        AND k.arm = i.control AND i.arm <> i.control
    WHERE i.total <> 0 OR i.c <> 0 OR i.c_squares <> 0 OR k.c <> 0 OR k.c_squares <> 0
    GROUP BY i.epoch, i.at, i.arm
)"""
