"""Calls as type checkers see them: mypy and pyright check this file, nothing runs it.

Each line marked with ``type: ignore`` and ``pyright: ignore`` is an error that both must find: they
also report a mark without an error.
"""

from collections import OrderedDict
from typing import Any, assert_type, cast

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

import updates
from updates.call import Updates

w = cast(TensorSharedVariable, pytensor.shared(np.ones(3), name="w"))
x = pt.vector("x")
loss: Variable = (w**2).sum()
grads: list[Variable] = [2 * w]
rate = cast(TensorSharedVariable, pytensor.shared(0.1))
step = pt.lscalar("step")

# A rule gives updates at once, or waits; `pytensor.function` takes what it gives.
assert_type(updates.adam(loss, [w]), OrderedDict[Any, Variable])
assert_type(updates.adam(loss, w), Updates)
assert_type(updates.adam(grads, [w], 0.1, beta1=0.5, epsilon=1e-7), Updates)
assert_type(updates.adam(loss_or_grads=loss, params=[w]), Updates)
assert_type(updates.adam(), updates.Deferred)
assert_type(updates.adam(learning_rate=0.1), updates.Deferred)
assert_type(updates.adam(None, None, 0.1), updates.Deferred)
pytensor.function([], [], updates=updates.adam(loss, [w]))
pytensor.function([], [], updates={**updates.adam(loss, [w]), rate: rate * 0.9})

# Numbers of all kinds, symbols and schedules are hyperparameters; a word is not.
for value in (1, 0.1, np.float32(0.1), np.int64(1), x[0], updates.cosine_decay(0.1, 100)):
    updates.adam(loss, [w], learning_rate=value)
updates.adam(loss, [w], learning_rate=lambda step: 0.1 / (step + 1))
updates.rmsprop(loss, [w], max_scaling=None)
updates.adam(loss, [w], learning_rate="fast")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
updates.adam(loss, [w], beta1=None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
updates.adam(loss, [w], lr=0.1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
updates.adam(lr=0.1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
updates.amsgrad(loss, [w], 0.1, 0.9, 0.9, 1e-8, 7)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
updates.adam(loss)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
updates.adam(3.0, [w])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
updates.adam(loss, [1.0])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType, reportCallIssue]

# What has no default must be given.
assert_type(updates.sgd(loss, [w], 0.1), Updates)
assert_type(updates.sgd(learning_rate=0.1), updates.Deferred)
assert_type(updates.momentum(loss, [w], learning_rate=0.1, momentum=0.5), Updates)
assert_type(updates.momentum_updates(loss, [w], 0.1, rate_in_velocity=False), Updates)
updates.sgd(loss, [w])  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
updates.momentum(loss, [w], momentum=0.9)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]

# Rules that need the loss, all parameters, or another rule.
assert_type(updates.sophia(loss=loss, params=[w], learning_rate=0.1), Updates)
assert_type(updates.sophia(update_interval=3), updates.Deferred)
assert_type(updates.sam(loss, [w], updates.sgd(learning_rate=0.1), rho=0.1), Updates)
assert_type(updates.sam(rule=updates.adam()), updates.Deferred)
assert_type(updates.prodigy(loss, [w], beta3=None), Updates)
assert_type(updates.accumulate_gradients(loss, [w], updates.adam(), every=2), Updates)
updates.sophia(loss_or_grads=loss, params=[w])  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
updates.sophia(grads, [w])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
updates.sam(loss, [w])  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
updates.sam(loss, [w], 0.05)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

# Gradient transforms, now and later.
assert_type(updates.clip_by_value(grads, 1.0), list[TensorVariable])
assert_type(updates.clip_by_norm(grads, max_norm=1.0), list[TensorVariable])
assert_type(updates.add_weight_decay(grads, [w], 0.1), list[TensorVariable])
assert_type(updates.add_gradient_noise(grads, seed=1), list[TensorVariable])
assert_type(updates.zero_nonfinite(grads), list[TensorVariable])
assert_type(updates.clip_by_value(max_value=1.0), updates.Deferred)
assert_type(updates.adaptive_clip(clipping=0.1), updates.Deferred)
assert_type(updates.clip_by_global_norm(max_norm=1.0), updates.Deferred)
assert_type(updates.total_norm_constraint(tensor_vars=grads, max_norm=1.0), Any)
assert_type(updates.norm_constraint(tensor_var=w, max_norm=1.0, norm_axes=[0]), TensorVariable)
assert_type(updates.norm_constraint(max_norm=1.0), updates.Deferred)
updates.clip_by_value(grads, maximum=1.0)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
updates.clip_by_norm(grads)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
updates.add_weight_decay(grads, 0.1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
updates.norm_constraint(grads, 1.0)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

# Update transforms, now and later.
training = updates.adam(loss, [w])
assert_type(updates.apply_ema(training, decay=0.9), Updates)
assert_type(updates.apply_ema({w: 2 * w}, [w]), Updates)
assert_type(updates.apply_ema([(w, 2 * w)]), Updates)
assert_type(updates.apply_ema(decay=0.9), updates.Deferred)
assert_type(updates.apply_norm_constraint(training, max_norm=1.0), Updates)
assert_type(updates.apply_if_finite(training), Updates)
assert_type(updates.apply_if_finite(), updates.Deferred)
assert_type(updates.chain(updates.adam(), updates.apply_ema()), updates.Chain)
assert_type(updates.freeze(training, "w"), Updates)
assert_type(updates.freeze(params="w"), updates.Deferred)
assert_type(updates.reduce_on_plateau(training, loss, patience=3), Updates)
assert_type(updates.reduce_on_plateau(loss=loss, factor=0.5), updates.Deferred)
assert_type(updates.merge_updates(training, {rate: rate * 0.9}), Updates)
updates.apply_ema(training, beta=0.9)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
updates.apply_ema(loss)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
updates.apply_norm_constraint(training)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
updates.reduce_on_plateau(training)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]

# Schedules.
assert_type(updates.cosine_decay(0.1, 100), updates.Schedule)
assert_type(updates.warmup(updates.cosine_decay(0.1, 100), steps=10), updates.Schedule)
assert_type(updates.join_schedules([0.1, lambda step: 0.2], [10]), updates.Schedule)
assert_type(updates.cosine_decay(rate, steps=100, alpha=0.1)(step), TensorVariable)
assert_type(list(updates.schedule_values(training)), list[str])
updates.cosine_decay(0.1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
updates.cosine_decay(0.1, 100, aplha=0.1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
updates.one_cycle(0.1, 100, shape=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Training.
arrays = [np.ones((8, 3))]
history = updates.minimize(loss, rule=updates.adam(), train=arrays, max_epochs=3, patience=None)
assert_type(history, updates.History)
for monitored in updates.iterate(loss, [w], [x], rule=updates.adam(), train=arrays):
    assert_type(monitored, tuple[dict[str, float], dict[str, float]])
updates.minimize(loss, train=arrays)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
updates.minimize(loss, rule=updates.adam(), train=arrays, epochs=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
updates.minimize(loss, rule=updates.adam(), train=arrays, seed="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
