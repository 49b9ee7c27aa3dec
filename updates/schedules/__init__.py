"""Schedules: hyperparameters that follow the step.

- ``constant_schedule``, ``piecewise_constant``, ``step_decay``: steps
- ``linear_schedule``, ``polynomial_decay``: from one value to another
- ``exponential_decay``, ``inverse_time_decay``, ``inverse_sqrt``: ever slower
- ``cosine_decay``, ``cosine_restarts``, ``one_cycle``: half waves
- ``piecewise_interpolate``, ``warmup_stable_decay``: through given points
- ``warmup``, ``join_schedules``, ``halflife_to_decay``: from schedules to schedules
- ``schedule_values``: the current value of every schedule in a dictionary of updates
- ``Schedule``: what all of them make

Give one to a rule in place of a number: ``adam(loss, params, cosine_decay(1e-2, 5000))``. The
rule counts its calls and evaluates its schedules at ``t``, an int64 scalar that is 0 in the
first call; any function from a symbolic step to a scalar can stand in for the ones here.

All of them compute in float64, whatever ``floatX`` is (in float32 where PyTensor's
``warn_float64`` forbids more); the rule casts the value to the dtype of its parameters. Values
and counts may be shared variables: change them with ``set_value`` between calls.
"""

from typing import TYPE_CHECKING

from updates.schedules.schedule import *
from updates.schedules.decays import *
from updates.schedules.waves import *
from updates.schedules.points import *
from updates.schedules.compositions import *
from updates.declaration import public_names

if not TYPE_CHECKING:  # type checkers cannot evaluate it, and see what is imported above
    __all__ = public_names(__name__)
