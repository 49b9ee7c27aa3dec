"""Train and save every few steps in processes that are killed: the program of a slow test.

    python tests/checkpoint_run.py FOLDER STEPS KILLS

This process compiles the training step once and does not train. Each life is a fork of it, which
goes on from the checkpoint in the folder. A life that has done its share of the steps saves on
and on, so that no kill comes too late. The last life is not killed. Printed as JSON: how many
lives were killed, how many of them during a save, and the step from which each life started.
"""

import json
import mmap
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt

import updates

STEPS_A_SAVE = 8
AT_START, TRAINING, SAVING = range(3)


def main(folder, steps, kills):
    rule, step = compiled()
    path = Path(folder) / "run.npz"
    moments = random.Random(kills)
    shared = mmap.mmap(-1, 16)  # what this process and its children both see
    starts, during_save = [], 0
    for life in range(1, kills + 2):
        last = life == kills + 1
        shared[:] = bytes(16)
        child = os.fork()
        if child == 0:
            live(rule, step, path, shared, steps if last else steps * life // kills, not last)
        if not last:
            while shared[0] == AT_START and not has_ended(child):
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.2))
            os.kill(child, signal.SIGKILL)
        ending = os.waitpid(child, 0)[1]
        if ending != (0 if last else signal.SIGKILL):
            raise SystemExit(f"life {life} ended with status {ending}")
        starts.append(int.from_bytes(shared[8:16], "little"))
        during_save += not last and shared[0] == SAVING
    print(json.dumps({"kills": kills, "during_save": during_save, "starts": starts}))


def has_ended(child):
    """Tell whether a child has ended by itself, without reaping it."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, child, flags) is not None


def compiled():
    """Compile Adam with a schedule and dropout noise, beside a few megabytes that change."""
    source = pytensor.shared(np.random.default_rng(1), name="dropout")
    values = np.random.default_rng(0)
    params = [pytensor.shared(values.normal(size=size), name=f"w{size}") for size in (300, 1)]
    table = pytensor.shared(values.random(1 << 20, dtype="float32"), name="table")
    next_source, mask = pt.random.bernoulli(0.5, size=(300,), rng=source).owner.outputs
    loss = ((params[0] * mask) ** 2).sum() + sum(((param - 1) ** 2).sum() for param in params)
    rate = updates.warmup(updates.cosine_decay(0.1, 200), 5)
    rule = {
        **updates.adam(loss, params, learning_rate=rate),
        source: next_source,
        table: table + params[1][0].astype("float32"),
    }
    step = pytensor.function([], updates=rule, mode="FAST_COMPILE")
    start = updates.state_dict(rule)
    step()  # the first step of a function is slow: no life should begin with it
    updates.load_state_dict(rule, start)
    return rule, step


def live(rule, step, path, shared, share, go_on):
    """Live one life: never return."""
    try:
        done = updates.load(path, rule)["step"] if path.exists() else 0
        shared[8:16] = done.to_bytes(8, "little")
        shared[0] = TRAINING
        while done < share or go_on:
            for _ in range(min(STEPS_A_SAVE, share - done)):
                step()
                done += 1
            shared[0] = SAVING
            updates.save(path, rule, extra={"step": done})
            shared[0] = TRAINING
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
