"""Race every rule on a CNN, a small transformer and a logistic regression.

    python benchmarks/race_rules.py [--rules adam muon] [--steps 600] [--page docs/race.md]

For each problem of ``race_problems.py`` and each rule, the learning rate is climbed to in steps of
a factor of 3 from that of ``notebooks/tuned_rules.py``, by the loss on data that are not trained on
after all steps. With the best rate, three runs from other starts are timed, and `adam` in turns
with them: a slow hour of the machine slows both. A page, with a table and a picture beside it, says
where each rule stands after equal steps, and after the time in which `adam` makes them. Averages
are evaluated where a rule keeps them.

Evaluations are not timed. Use no more jobs than the machine has cores.
"""

import argparse
import json
import math
import multiprocessing
import statistics
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pytensor
from race_problems import PROBLEMS
from speed_common import machine
from tqdm import tqdm

import updates

sys.path.append(str(Path(__file__).parents[1] / "notebooks"))
from digit_cnn import one_blas_thread
from tuned_rules import TUNED_RULES

REFERENCE = "adam"
SEEDS = [1, 2, 3]
EVALUATIONS = 40
FACTOR = math.sqrt(10)
FURTHEST = 5  # climbs in one direction
LONGEST = 4  # times the number of steps, for a rule that is faster than the reference


class Result(NamedTuple):
    """Where a rule ended on a problem, and its time as a multiple of that of `adam`: medians."""

    rate: float
    after_steps: float
    after_time: float
    cost: float


class Racer:
    """A rule on a problem, compiled once for all learning rates and starts."""

    def __init__(self, rule: str, problem: str) -> None:
        self.problem = problem
        self.make, self.first_rate = TUNED_RULES[rule]
        parts = PROBLEMS[problem](0)
        self.params, self.validation, self.batches = parts.params, parts.validation, parts.batches
        self.rate = pytensor.shared(np.float32(self.first_rate), name="rate")
        self.updates = self.make(parts.loss, parts.params, self.rate)
        self.step = pytensor.function(parts.inputs, updates=self.updates)
        self.loss = pytensor.function(parts.inputs, parts.loss)
        self.evaluated: Callable[[Any], AbstractContextManager[Any]] = updates.use_averages
        try:
            self.validated()
        except ValueError:  # no averages
            self.evaluated = nullcontext
        self.run(self.first_rate, 0, 2)  # what is slow the first time

    def seconds(self, batches: list[Any]) -> float:
        """Return the time that steps take."""
        start = perf_counter()
        for batch in batches:
            self.step(*batch)
        return perf_counter() - start

    def run(
        self, rate: float, seed: int, steps: int, reference: "Racer | None" = None
    ) -> list[tuple[int, float, float]]:
        """Train from a start; return on the way the steps, the time and the losses.

        The time is counted in steps of a reference, which go on until it has made all of its own.
        """
        for param, start in zip(self.params, PROBLEMS[self.problem](seed).params, strict=True):
            param.set_value(start.get_value())
        updates.reset(self.updates)
        self.rate.set_value(np.float32(rate))
        batches, every = self.batches(seed), max(1, steps // EVALUATIONS)
        own, others, done, curve = 0.0, 0.0, 0, [(0, 0.0, self.validated())]
        while done < steps or (reference and curve[-1][1] < steps and done < LONGEST * steps):
            ready = [next(batches) for _ in range(every)]
            own += self.seconds(ready)
            done += every
            others += reference.seconds(ready) if reference else 0.0
            curve.append((done, own / others * done if others else 0.0, self.validated()))
            if not math.isfinite(curve[-1][-1]):
                break
        return curve

    def validated(self) -> float:
        """Return the loss on data that are not trained on, infinite if it is not a number."""
        with self.evaluated(self.updates):
            loss = float(self.loss(*self.validation))
        return loss if math.isfinite(loss) else math.inf

    def climbed(self, steps: int) -> float:
        """Return the learning rate with the least loss after some steps."""
        losses: dict[int, float] = {}
        best = 0
        while True:
            for power in (best - 1, best, best + 1):
                if power not in losses and abs(power) <= FURTHEST:
                    curve = self.run(self.first_rate * FACTOR**power, 0, steps)
                    losses[power] = curve[-1][-1]
            if min(losses, key=lambda power: losses[power]) == best:
                return self.first_rate * FACTOR**best
            best = min(losses, key=lambda power: losses[power])


def raced(entry: tuple[str, str, int]) -> tuple[str, str, Result]:
    """Tune a rule on a problem and run it."""
    rule, problem, steps = entry
    with one_blas_thread(), np.errstate(all="ignore"):
        racer = Racer(rule, problem)
        rate = racer.climbed(steps)
        reference = None if rule == REFERENCE else Racer(REFERENCE, problem)
        curves = [racer.run(rate, seed, steps, reference) for seed in SEEDS]
    last = [next((loss for done, _, loss in c if done >= steps), math.inf) for c in curves]
    in_time = [[loss for _, spent, loss in curve if spent <= steps][-1] for curve in curves]
    costs = [curve[-1][1] / curve[-1][0] for curve in curves] if reference else [1.0]
    return problem, rule, Result(rate, *map(statistics.median, (last, in_time, costs)))


def race(rules: list[str], steps: int, jobs: int) -> dict[str, dict[str, Result]]:
    """Race rules on all problems; return results by problem and rule."""
    results: dict[str, dict[str, Result]] = {problem: {} for problem in PROBLEMS}
    entries = [(rule, problem, steps) for rule in rules for problem in PROBLEMS]
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=4) as pool:
        bar = tqdm(pool.imap_unordered(raced, entries), total=len(entries), ascii=" #")
        for problem, rule, result in bar:
            results[problem][rule] = result
    return results


def order(results: dict[str, dict[str, Result]]) -> list[str]:
    """Sort rules by their mean place after equal steps and after equal time."""
    rules = list(next(iter(results.values())))
    places = dict.fromkeys(rules, 0)
    for of_problem in results.values():
        for measure in ("after_steps", "after_time"):
            for rule in rules:
                own = getattr(of_problem[rule], measure)
                places[rule] += sum(getattr(of_problem[r], measure) < own for r in rules)
    return sorted(rules, key=lambda rule: places[rule])


def page(results: dict[str, dict[str, Result]], steps: int, jobs: int, picture: str) -> str:
    """Write the page."""
    rules = order(results)
    measures = {"after_steps": "steps", "after_time": "time"}
    losses = [["rule", *(f"{p}, {of}" for p in results for of in measures.values())]]
    costs = [["rule", *(f"{p}, {of}" for p in results for of in ("rate", "cost"))]]
    for rule in rules:
        losses.append([f"`{rule}`"])
        costs.append([f"`{rule}`"])
        for of_problem in results.values():
            own = of_problem[rule]
            costs[-1] += [f"{own.rate:.2g}", f"{own.cost:.2f}"]
            for measure in measures:
                value = getattr(own, measure)
                is_best = value == min(getattr(end, measure) for end in of_problem.values())
                text = f"{value:.3f}" if math.isfinite(value) else "diverged"
                losses[-1].append(f"**{text}**" if is_best else text)
    about = ", ".join(
        f"{name} {value}"
        for name, value in machine().items()
        if name != "updates" and value != "not installed"
    )
    return TEXT.format(
        steps=steps,
        longest=LONGEST,
        picture=picture,
        losses=compact(losses),
        costs=compact(costs),
        machine=about,
        jobs=jobs,
        command=f"python benchmarks/race_rules.py --steps {steps} --jobs {jobs}",
    )


def compact(rows: list[list[str]]) -> str:
    """Write a Markdown table without padding."""
    header, *body = rows
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TEXT = """# All rules on three problems

Every rule trains a small CNN and a logistic regression on scikit-learn's digits, and a
transformer of one block that sorts six numbers, all on mini-batches of 32. The table has the loss
on data that were not trained on: after {steps} steps, and in the time in which `adam` takes
{steps} steps (a faster rule makes more, up to {longest} times as many). Medians of three starts.
The rules are in the order of their mean place.

![Losses of every rule on three problems, after equal steps and in equal time]({picture})

{losses}

`{command}` makes this page ({machine}; {jobs} runs at a time).

## Learning rates and costs

The cost of a rule is the time of a step as a multiple of that of `adam`, whose steps were timed in
turns with its own.

{costs}

## What it does not show

- **Which rule is best for your problem.** These models have 650 to 13,400 parameters and train
  for seconds. Differences of a few percent are smaller than those between starts, and large
  networks, long runs and noisy data bring other orders.
- **Rules at their best.** Only the learning rate is tuned, to within a factor of 3, with one
  start. Decays, epsilons, weight decay and schedules are the defaults, or those of
  `notebooks/tuned_rules.py`. Rules that need no learning rate (`dog`, `prodigy`, `cocob`,
  `mechanize` and others) have a factor tuned all the same.
- **Generalization.** The loss is that of validation data, but the runs are too short to overfit.
- **The time of large arrays.** Here a step takes well under a millisecond or two, so fixed costs
  count. Large arrays are on the page about [speed](speed.md).
- **What `lbfgs` is for.** It belongs on full batches, where its line search sees the same loss at
  every trial.
"""


def draw(results: dict[str, dict[str, Result]], path: Path) -> None:
    """Draw a panel for each problem, a line for each rule."""
    rules = order(results)[::-1]
    height = 1.6 + 0.2 * len(rules)
    figure, panels = plt.subplots(1, len(results), figsize=(12, height), sharey=True)
    for panel, (problem, of_problem) in zip(panels, results.items(), strict=True):
        ends = [of_problem[rule] for rule in rules]
        finite = [v for end in ends for v in (end.after_steps, end.after_time) if math.isfinite(v)]
        edge = max(finite)
        rows = np.arange(len(rules))
        steps = [min(end.after_steps, edge) for end in ends]
        times = [min(end.after_time, edge) for end in ends]
        panel.hlines(
            rows, np.minimum(steps, times), np.maximum(steps, times), color="0.8", zorder=1
        )
        panel.scatter(steps, rows, s=22, color="tab:blue", label="after equal steps", zorder=2)
        panel.scatter(
            times,
            rows,
            s=26,
            facecolors="none",
            edgecolors="tab:red",
            label="in equal time",
            zorder=3,
        )
        panel.set(title=problem, xscale="log", xlabel="loss, lower is better")
        panel.grid(axis="x", alpha=0.3, which="both")
        panel.set_ylim(-1, len(rules))
    panels[0].set_yticks(np.arange(len(rules)), rules)
    panels[0].legend(loc="upper right")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", nargs="+", default=list(TUNED_RULES), choices=TUNED_RULES)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--page", type=Path, help="write a page, with a picture beside it")
    parser.add_argument("--results", type=Path, help="keep the results as JSON, or read them")
    options = parser.parse_args()
    if options.results and options.results.exists():
        kept = json.loads(options.results.read_text())
        results = {p: {r: Result(*end) for r, end in ends.items()} for p, ends in kept.items()}
    else:
        results = race(options.rules, options.steps, options.jobs)
        if options.results:
            options.results.write_text(json.dumps(results))
    target = options.page or Path("race.md")
    text = page(results, options.steps, options.jobs, f"{target.stem}.png")
    print(text)
    if options.page:
        target.write_text(text)
        draw(results, target.with_suffix(".png"))


if __name__ == "__main__":
    main()
