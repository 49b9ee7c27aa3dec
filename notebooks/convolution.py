"""Convolution and max-pooling for ``network3``, made of indexing and one matrix product.

The book's program takes ``conv2d`` and ``max_pool_2d`` from Theano; PyTensor 3 has neither.

- ``conv_and_max_pool``: convolve images with filters, and keep the maximum of each pool
- ``pooled_shape``: the height and width of the result
"""

import functools
import math

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

Shape = tuple[int, int, int, int]


def conv_and_max_pool(
    images: TensorVariable,
    filters: TensorVariable,
    filter_shape: Shape,
    image_shape: Shape,
    poolsize: tuple[int, int],
) -> TensorVariable:
    """Convolve every image with every filter, and keep the maximum of each pool.

    The patches that the filters cover are gathered by one indexing operation, and one product of
    two matrices applies all filters to all of them.

    Parameters
    ----------
    images : symbolic tensor
        Its axes are image, input feature map, row and column.
    filters : symbolic tensor
        Its axes are filter, input feature map, row and column. Filters are applied as they are,
        as in PyTorch (cross-correlation); Theano flipped them.
    filter_shape, image_shape : tuple of 4 int
        The shapes of ``filters`` and ``images``.
    poolsize : tuple of 2 int
        Height and width of a pool. Pools do not overlap, and a border that they do not fill is
        dropped.

    Returns
    -------
    symbolic tensor
        Its axes are image, filter, row and column.
    """
    num_filters = filter_shape[0]
    # a constant, because PyTensor walks through every element of a NumPy index
    patches = images.flatten()[pt.constant(_patch_index(filter_shape, image_shape, poolsize))]
    num_pools, patch_size = patches.type.shape[1:]
    conv_out = pt.dot(
        patches.reshape((-1, patch_size)), filters.reshape((num_filters, patch_size)).T
    ).reshape((-1, num_pools, num_filters))
    # pairwise, because Max would pass its whole gradient to each of several equal elements
    pooled_out = functools.reduce(pt.maximum, [conv_out[k] for k in range(math.prod(poolsize))])
    height, width = pooled_shape(filter_shape, image_shape, poolsize)
    return pooled_out.reshape((image_shape[0], height, width, num_filters)).transpose((0, 3, 1, 2))


def pooled_shape(
    filter_shape: Shape, image_shape: Shape, poolsize: tuple[int, int]
) -> tuple[int, int]:
    """Return the height and width of what ``conv_and_max_pool`` returns.

    Raises
    ------
    ValueError
        If the shapes do not fit together, or the images are too small for a single pool.
    """
    if filter_shape[1] != image_shape[1]:
        raise ValueError(
            f"filter_shape {filter_shape} and image_shape {image_shape} differ in the "
            "number of input feature maps"
        )
    height, width = (
        (image - window + 1) // pool
        for image, window, pool in zip(image_shape[2:], filter_shape[2:], poolsize, strict=True)
    )
    if min(height, width) < 1:
        raise ValueError(
            f"nothing is left of images {image_shape[2:]} after filters "
            f"{filter_shape[2:]} and pools {poolsize}"
        )
    return height, width


def _patch_index(filter_shape: Shape, image_shape: Shape, poolsize: tuple[int, int]) -> np.ndarray:
    """Return where the elements of each patch lie in the flattened images.

    The axes are the position within a pool, the pool (of all images), and the position within
    the filter (of all input feature maps). The position within a pool comes first, so that
    pooling compares contiguous arrays.
    """
    num_images, num_maps, height, width = image_shape
    pools = pooled_shape(filter_shape, image_shape, poolsize)
    pool_y, pool_x, image, y, x, feature_map, filter_y, filter_x = np.ogrid[
        tuple(slice(n) for n in (*poolsize, num_images, *pools, *filter_shape[1:]))
    ]
    row = y * poolsize[0] + pool_y + filter_y
    column = x * poolsize[1] + pool_x + filter_x
    index = ((image * num_maps + feature_map) * height + row) * width + column
    return index.reshape((math.prod(poolsize), -1, math.prod(filter_shape[1:])))
