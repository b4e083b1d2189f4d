"""The largest eigenvalues of graphs: by connected component, small ones dense, large ones by Lanczos with a fixed start.

Two runs agree bit for bit. A connected graph's first eigenvalue is simple, so that going by component also finds those that
several components share; one Lanczos vector would miss them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh

DENSE = 600  # units up to which a component is made dense
SMALL = 100  # units up to which a graph is not taken apart
TOLERANCE = 1e-9


def two_singular_values(biadjacency: sparse.csr_array) -> tuple[float, float]:
    """The two largest singular values of a matrix without negative entries; 0 where it has no more.

    In the symmetric adjacency of the bipartite graph they are |l|1 = |l|2 and |l|3 = |l|4. What is below some 1e-7 of the
    first is 0.

    Example:
        >>> [round(value, 6) for value in two_singular_values(sparse.csr_array(np.diag([1.0, 3.0, 2.0])))]
        [3.0, 2.0]
    """
    matrix = _full(biadjacency)
    if min(matrix.shape) <= SMALL:
        first, second = [*sorted(_singular_values(matrix), reverse=True), 0.0, 0.0][:2]
        return first, second
    left, right = _sides(matrix)
    first, second = _greatest(2, _pieces(matrix, left, right, _norms(matrix, left)), _singular_values)
    return first, second


def three_eigenvalues(adjacency: sparse.csr_array) -> tuple[float, float, float]:
    """The three largest absolute eigenvalues of a symmetric matrix without negative entries; 0 where it has no more.

    Example:
        >>> triangle = sparse.csr_array(1.0 - np.eye(3))
        >>> [round(value, 6) for value in three_eigenvalues(triangle)]
        [2.0, 1.0, 1.0]
    """
    matrix = _full(adjacency)
    labels = _components(matrix)
    of_piece = lambda piece: np.abs(_eigenvalues(piece, 3, "LM")).tolist()
    first, second, third = _greatest(3, _pieces(matrix, labels, labels, _norms(matrix, labels)), of_piece)
    return first, second, third


def laplacian_radius(adjacency: sparse.csr_array) -> float:
    """The largest eigenvalue of the Laplacian D - A of a symmetric matrix without negative entries; 0 without any entry.

    Example:
        >>> round(laplacian_radius(sparse.csr_array(np.ones((5, 5)) - np.eye(5))), 6)
        5.0
    """
    matrix = _full(adjacency)
    if not matrix.nnz:
        return 0.0
    labels, degrees = _components(matrix), matrix.sum(1)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    bounds = np.zeros(labels.max() + 1)  # of each component, by its edges: Anderson and Morley 1985
    np.maximum.at(bounds, labels[rows], degrees[rows] + degrees[matrix.indices])
    laplacian = lambda piece: sparse.diags_array(piece.sum(1)).tocsr() - piece
    of_piece = lambda piece: _eigenvalues(laplacian(piece), 1, "LA").tolist()
    return _greatest(1, _pieces(matrix, labels, labels, bounds), of_piece)[0]


def one_way(biadjacency: sparse.csr_array, data: np.ndarray | None = None) -> sparse.csr_array:
    """The bipartite graph as a square matrix, left units first, each edge once; its entries are True, or ``data``."""
    n, m = biadjacency.shape
    starts = np.concatenate([biadjacency.indptr, np.full(m, biadjacency.nnz, biadjacency.indptr.dtype)])
    data = np.ones(biadjacency.nnz, bool) if data is None else data
    return sparse.csr_array((data, biadjacency.indices + n, starts), (n + m, n + m))


def symmetric(biadjacency: sparse.csr_array) -> sparse.csr_array:
    """The symmetric adjacency matrix of a bipartite graph, left units first."""
    matrix = biadjacency.astype(float)
    return sparse.block_array([[None, matrix], [matrix.T, None]], format="csr")


def _full(matrix: sparse.csr_array) -> sparse.csr_array:
    """The matrix as floats, without stored zeros and without its empty rows and columns."""
    matrix = matrix.astype(float)
    matrix.eliminate_zeros()
    square = matrix.shape[0] == matrix.shape[1]
    rows = np.diff(matrix.indptr) > 0
    columns = np.bincount(matrix.indices, minlength=matrix.shape[1]) > 0
    if square:  # units are both rows and columns where the matrix is symmetric; else it loses nothing
        rows = columns = rows | columns
    return matrix if rows.all() and columns.all() else matrix[rows][:, columns]


def _components(matrix: sparse.csr_array) -> np.ndarray:
    """The component of each unit of a symmetric matrix; one for all of a small matrix."""
    n = matrix.shape[0]
    return connected_components(matrix, directed=False)[1] if n > SMALL else np.zeros(n, int)


def _sides(matrix: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """The component of each row and of each column of a bipartite graph."""
    labels = connected_components(one_way(matrix), directed=False)[1]
    return labels[: matrix.shape[0]], labels[matrix.shape[0] :]


def _norms(matrix: sparse.csr_array, labels: np.ndarray) -> np.ndarray:
    """The norm of each component's part of a matrix, by the component of each row: no eigenvalue is greater."""
    entries = np.repeat(labels, np.diff(matrix.indptr))
    return np.sqrt(np.bincount(entries, np.square(matrix.data), labels.max(initial=-1) + 1))


def _greatest(count: int, pieces: Iterator[tuple[float, Any]], of_piece: Callable[[Any], list[float]]) -> list[float]:
    """The greatest values of all pieces, falling; pieces come by a falling bound of their values."""
    found = [0.0] * count
    for bound, piece in pieces:
        if bound <= found[-1]:
            break
        found = sorted([*found, *of_piece(piece)], reverse=True)[:count]
    return found


def _pieces(
    matrix: sparse.csr_array, rows: np.ndarray, columns: np.ndarray, worth: np.ndarray
) -> Iterator[tuple[float, sparse.csr_array]]:
    """What each component is worth and its part of the matrix, those that are worth most first, those worth nothing never."""
    for label in np.argsort(-worth, kind="stable"):
        if worth[label] <= 0:
            return
        whole = len(worth) == 1
        yield float(worth[label]), matrix if whole else matrix[rows == label][:, columns == label]


def _singular_values(piece: sparse.csr_array) -> list[float]:
    """The two largest singular values of a connected component, or of any small graph."""
    if not piece.nnz:
        return []
    short = (piece if piece.shape[0] <= piece.shape[1] else piece.T).tocsr()
    n, long = short.shape[0], short.T.tocsr()
    product = LinearOperator((n, n), matvec=lambda x: short @ (long @ x), dtype=float)
    squares = _eigenvalues(short @ long if n <= DENSE else product, 2, "LA")
    smallest = n * np.finfo(float).eps * squares.max()
    return np.sqrt(np.where(squares > smallest, squares, 0)).tolist()


def _eigenvalues(matrix: Any, count: int, which: str) -> np.ndarray:
    """Some of the eigenvalues of a symmetric matrix, those at one end among them: "LA" largest, "LM" largest absolute ones."""
    n = matrix.shape[0]
    if n > DENSE:
        start = np.random.default_rng(0).standard_normal(n)  # a constant one is an eigenvector of some graphs
        return eigsh(matrix, count, which=which, v0=start, tol=TOLERANCE, return_eigenvectors=False)
    some = [max(n - count, 0), n - 1] if which == "LA" else None
    return linalg.eigvalsh(matrix.toarray(), subset_by_index=some)
