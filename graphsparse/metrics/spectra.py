"""The largest eigenvalues of graphs: by connected component, small ones dense, large ones by Lanczos with a fixed start.

Two runs agree bit for bit. A connected graph's first eigenvalue is simple, so that going by component also finds those that
several components share; one Lanczos vector would miss them.
"""

from __future__ import annotations

from collections.abc import Iterator

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
        first, second = [*sorted(_of_piece(matrix), reverse=True), 0.0, 0.0][:2]
        return first, second
    left, right = _sides(matrix)
    entries = np.repeat(left, np.diff(matrix.indptr))
    norms = np.sqrt(np.bincount(entries, np.square(matrix.data), left.max(initial=-1) + 1))
    found = [0.0, 0.0]
    for norm, piece in _pieces(matrix, left, right, norms):
        if norm <= found[1]:  # no singular value of what is left is greater than its norm
            break
        found = sorted([*found, *_of_piece(piece)], reverse=True)[:2]
    return found[0], found[1]


def three_eigenvalues(adjacency: sparse.csr_array) -> tuple[float, float, float]:
    """The three largest absolute eigenvalues of a symmetric matrix without negative entries; 0 where it has no more.

    Example:
        >>> triangle = sparse.csr_array(1.0 - np.eye(3))
        >>> [round(value, 6) for value in three_eigenvalues(triangle)]
        [2.0, 1.0, 1.0]
    """
    matrix = _full(adjacency)
    small = matrix.shape[0] <= SMALL
    labels = np.zeros(matrix.shape[0], int) if small else connected_components(matrix, directed=False)[1]
    entries = np.repeat(labels, np.diff(matrix.indptr))
    norms = np.sqrt(np.bincount(entries, np.square(matrix.data), labels.max(initial=-1) + 1))
    found = [0.0, 0.0, 0.0]
    for norm, piece in _pieces(matrix, labels, labels, norms):
        if norm <= found[2]:
            break
        if piece.shape[0] <= DENSE:
            values = linalg.eigvalsh(piece.toarray())
        else:
            values = eigsh(piece, 3, which="LM", v0=_start(piece.shape[0]), tol=TOLERANCE, return_eigenvectors=False)
        found = sorted([*found, *np.abs(values).tolist()], reverse=True)[:3]
    return found[0], found[1], found[2]


def laplacian_radius(adjacency: sparse.csr_array) -> float:
    """The largest eigenvalue of the Laplacian D - A of a symmetric matrix without negative entries; 0 without any entry.

    Example:
        >>> round(laplacian_radius(sparse.csr_array(np.ones((5, 5)) - np.eye(5))), 6)
        5.0
    """
    matrix = _full(adjacency)
    if not matrix.nnz:
        return 0.0
    small = matrix.shape[0] <= SMALL
    labels = np.zeros(matrix.shape[0], int) if small else connected_components(matrix, directed=False)[1]
    degrees = matrix.sum(1)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    most = np.zeros(labels.max() + 1)  # of a component, by its edges: Anderson and Morley 1985
    np.maximum.at(most, labels[rows], degrees[rows] + degrees[matrix.indices])
    best = 0.0
    for bound, piece in _pieces(matrix, labels, labels, most):
        if bound <= best:
            break
        n = piece.shape[0]
        laplacian = sparse.diags_array(piece.sum(1)).tocsr() - piece
        if n <= DENSE:
            value = linalg.eigvalsh(laplacian.toarray(), subset_by_index=[n - 1, n - 1])[0]
        else:
            value = eigsh(laplacian, 1, which="LA", v0=_start(n), tol=TOLERANCE, return_eigenvectors=False)[0]
        best = max(best, float(value))
    return best


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


def _sides(matrix: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """The component of each row and of each column of a bipartite graph."""
    n, m = matrix.shape
    starts = np.concatenate([matrix.indptr, np.full(m, matrix.indptr[-1], matrix.indptr.dtype)])
    joined = sparse.csr_array((np.ones(matrix.nnz, bool), matrix.indices + n, starts), (n + m, n + m))
    labels = connected_components(joined, directed=False)[1] if n + m else np.empty(0, int)
    return labels[:n], labels[n:]


def _pieces(
    matrix: sparse.csr_array, rows: np.ndarray, columns: np.ndarray, worth: np.ndarray
) -> Iterator[tuple[float, sparse.csr_array]]:
    """What each component is worth and its part of the matrix, those that are worth most first, those worth nothing never."""
    for label in np.argsort(-worth, kind="stable"):
        if worth[label] <= 0:
            return
        whole = len(worth) == 1
        yield float(worth[label]), matrix if whole else matrix[rows == label][:, columns == label]


def _of_piece(piece: sparse.csr_array) -> list[float]:
    """The two largest singular values of a connected component, or of any small graph."""
    if not piece.nnz:
        return []
    short = (piece if piece.shape[0] <= piece.shape[1] else piece.T).tocsr()
    n = short.shape[0]
    long = short.T.tocsr()
    if n <= DENSE:
        squares = linalg.eigvalsh((short @ long).toarray(), subset_by_index=[max(n - 2, 0), n - 1])
    else:
        product = LinearOperator((n, n), matvec=lambda x: short @ (long @ x), dtype=float)
        squares = eigsh(product, 2, which="LA", v0=_start(n), tol=TOLERANCE, return_eigenvectors=False)
    smallest = n * np.finfo(float).eps * squares.max()
    return np.sqrt(np.where(squares > smallest, squares, 0)).tolist()


def _start(n: int) -> np.ndarray:
    """The first vector of every Lanczos run: no eigenvector of a graph, as a constant one is of some."""
    return np.random.default_rng(0).standard_normal(n)
