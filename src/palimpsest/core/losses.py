"""Rows of tokens to losses in nats: the one code path for every measured loss.

Shapes: B rows of a micro-batch, T targets, V vocabulary. Padding stands on the right, where a
causal model cannot see it, so that no attention mask is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from palimpsest.core.cross_entropy import linear_head, sum_backward, target_nats
from palimpsest.core.flat import FlatWeights

if TYPE_CHECKING:
    from palimpsest.core.rows import Row

NOT_COUNTED = -100
# Floats of logits per micro-batch: 16 MB are quickest on a CPU, 1 GB fills an accelerator.
LOGITS_PER_MICRO_BATCH = {"cpu": 2**22, "cuda": 2**28}
# Of a GPU's free memory, for what a backward pass needs; update, log and head work in the rest.
SHARE_FOR_ACTIVATIONS = 1 / 3


@dataclass(frozen=True)
class Packed:
    """One micro-batch: `row_index` says which of the given rows stands where."""

    inputs_BT: Tensor
    targets_BT: Tensor
    row_index: tuple[int, ...]
    n_tokens: int


class BatchGradient(NamedTuple):
    """The losses of a batch's parts, nats (NaN where a part is empty), and ∇ of the new part's.

    All stay on the device, so that nobody waits for it. `new_gradient` is flat; where there is no
    new part (pure replay) it is the replay's.
    """

    loss_new_nats: Tensor
    loss_replay_nats: Tensor
    new_gradient: Tensor


def micro_batch_tokens(model: nn.Module) -> int:
    """Return how many tokens the model's device takes at once, by the size of the logits."""
    parameter = next(model.parameters())
    vocab_size = int(model.get_output_embeddings().weight.shape[0])  # type: ignore[operator]
    return max(1, LOGITS_PER_MICRO_BATCH[parameter.device.type] // vocab_size)


def training_tokens(model: nn.Module) -> int:
    """Return how many tokens are trained on at once: on a GPU by its memory, else as many as are
    measured at once.
    """
    device = next(model.parameters()).device
    if device.type != "cuda":
        return micro_batch_tokens(model)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free_bytes = torch.cuda.mem_get_info(device)[0] + unused
    return tokens_that_fit(int(SHARE_FOR_ACTIVATIONS * free_bytes), activation_bytes(model))


def tokens_that_fit(n_bytes: int, bytes_per_token: int) -> int:
    """Return the power of two: a little more or less memory seldom changes how sums are rounded."""
    return 1 << (max(1, n_bytes // bytes_per_token).bit_length() - 1)


def activation_bytes(model: nn.Module) -> int:
    """Return what a token leaves for the backward pass below the output head, roughly.

    Four bytes for each input and each output of its matrices, as if all were kept in fp32: with
    causal SDPA, what autocast keeps in bfloat16, and norms and residuals in fp32, come to less.
    Attention that keeps a square of scores, and experts whose weights have three axes, are not
    counted: there a micro-batch may be halved once or twice.
    """
    body: Any = getattr(model, "base_model", model)
    tables = {id(module.weight) for module in body.modules() if isinstance(module, nn.Embedding)}
    matrices = (one for one in body.parameters() if one.dim() == 2 and id(one) not in tables)
    return max(1, 4 * sum(sum(one.shape) for one in matrices))


def pack(
    rows: Sequence[Row], *, max_tokens: int, device: torch.device, pieces: bool = False
) -> list[Packed]:
    """Return the rows as padded micro-batches, the longest first; a row is never cut.

    With `pieces` the leading `n_context` targets of each row do not count: they belong to
    another piece. Each micro-batch holds at most `max_tokens` with its padding, or one row.
    """
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index].tokens))
    packed = []
    while order:
        n_rows = max(1, max_tokens // (len(rows[order[0]].tokens) - 1))
        taken, order = order[:n_rows], order[n_rows:]
        packed.append(_pad([rows[index] for index in taken], taken, device, pieces))
    return packed


def row_losses(model: nn.Module, packed: Sequence[Packed]) -> tuple[np.ndarray, np.ndarray]:
    """Return (summed nats as float64, counted tokens as int64) per row, in the order given."""
    n_rows = sum(len(micro.row_index) for micro in packed)
    sum_nats, n_tokens = np.zeros(n_rows), np.zeros(n_rows, dtype=np.int64)
    with torch.inference_mode():
        for micro in packed:
            where = list(micro.row_index)
            sum_nats[where] = _row_sums(_token_nats(model, micro)).cpu().numpy()
            n_tokens[where] = (micro.targets_BT != NOT_COUNTED).sum(dim=1).cpu().numpy()
    return sum_nats, n_tokens


def token_losses(model: nn.Module, packed: Sequence[Packed]) -> list[np.ndarray]:
    """Return the nats of each row's counted targets as float32, rows in the order given."""
    found: dict[int, np.ndarray] = {}
    with torch.no_grad():
        for micro in packed:
            nats_BT, counted_BT = _token_nats(model, micro), micro.targets_BT != NOT_COUNTED
            for place, row in enumerate(micro.row_index):
                found[row] = nats_BT[place][counted_BT[place]].cpu().numpy()
    return [found[row] for row in range(len(found))]


def mean_loss(model: nn.Module, packed: Sequence[Packed]) -> float:
    """Return the mean loss in nats per counted token."""
    with torch.inference_mode():
        sums = [_row_sums(_token_nats(model, micro)).sum() for micro in packed]
        return float(torch.stack(sums).sum() / count_tokens(packed))


def backward(model: nn.Module, packed: Sequence[Packed], n_tokens_total: int) -> Tensor:
    """Add ∇(summed nats / n_tokens_total) to the gradients; return these rows' own mean loss.

    Parts of one batch, each called with the tokens of all parts, add up to the exact
    token-weighted gradient of the mean.
    """
    scale = 1 / n_tokens_total
    sums = [_row_sums(_sum_backward(model, micro, scale=scale)).sum() for micro in packed]
    return torch.stack(sums).sum() / count_tokens(packed)


def batch_gradient(
    model: nn.Module, flat: FlatWeights, *, new: Sequence[Packed], replay: Sequence[Packed]
) -> BatchGradient:
    """Leave the gradient of the mean over the whole batch in `flat.grads`, parts kept apart."""
    n_new, n_replay = count_tokens(new), count_tokens(replay)
    flat.zero_grad()
    nothing = flat.grads.new_tensor(float("nan"), dtype=torch.float64)
    loss_new = backward(model, new, n_new + n_replay) if new else nothing
    new_gradient = flat.grads * ((n_new + n_replay) / n_new) if new else flat.grads
    loss_replay = backward(model, replay, n_new + n_replay) if replay else nothing
    return BatchGradient(loss_new, loss_replay, new_gradient if new else flat.grads.clone())


def count_tokens(packed: Sequence[Packed]) -> int:
    """Return how many targets count."""
    return sum(micro.n_tokens for micro in packed)


def _pad(
    rows: Sequence[Row], row_index: Sequence[int], device: torch.device, pieces: bool
) -> Packed:
    n_targets = len(rows[0].tokens) - 1
    inputs_BT = np.zeros((len(rows), n_targets), dtype=np.int64)
    targets_BT = np.full((len(rows), n_targets), NOT_COUNTED, dtype=np.int64)
    for place, row in enumerate(rows):
        n_context = row.n_context if pieces else 0
        inputs_BT[place, : len(row.tokens) - 1] = row.tokens[:-1]
        targets_BT[place, n_context : len(row.tokens) - 1] = row.tokens[1 + n_context :]
    return Packed(
        inputs_BT=_onto(device, inputs_BT),
        targets_BT=_onto(device, targets_BT),
        row_index=tuple(row_index),
        n_tokens=int((targets_BT != NOT_COUNTED).sum()),
    )


def _onto(device: torch.device, values: np.ndarray) -> Tensor:
    """Copy to the device; to a GPU from pinned memory, so that the host does not wait for it."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _row_sums(nats_BT: Tensor) -> Tensor:
    """Return the summed nats per row as float64."""
    return nats_BT.double().sum(dim=1)


def _token_nats(model: Any, micro: Packed) -> Tensor:
    """Return −ln p of each target, (B, T), 0 where it does not count."""
    head = linear_head(model)
    if head is None:
        return _nats_of_logits(model, micro)
    hidden_NH = _hidden(model, micro).float()
    return target_nats(hidden_NH, head, micro.targets_BT.flatten()).view_as(micro.targets_BT)


def _sum_backward(model: Any, micro: Packed, *, scale: float) -> Tensor:
    """Return what `_token_nats` does, and add ∇(scale · their sum) to the model's gradients."""
    head = linear_head(model)
    if head is None:
        nats_BT = _nats_of_logits(model, micro)
        (nats_BT.double().sum() * scale).backward()
        return nats_BT.detach()
    hidden_NH, targets_N = _hidden(model, micro), micro.targets_BT.flatten()
    seen_NH = hidden_NH.detach().to(_product_dtype(head.weight))
    nats_N, gradient_NH = sum_backward(seen_NH, head, targets_N, scale=scale)
    hidden_NH.backward(gradient_NH.to(hidden_NH.dtype))
    return nats_N.view_as(micro.targets_BT)


def _product_dtype(weight: Tensor) -> torch.dtype:
    """Return what autocast multiplies matrices in here; without it the weights' own dtype."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def _hidden(model: Any, micro: Packed) -> Tensor:
    """Return what the output head sees at each position, rows one after the other."""
    output = model.base_model(input_ids=micro.inputs_BT, use_cache=False)
    hidden_NH: Tensor = output.last_hidden_state.flatten(0, 1)
    return hidden_NH


def _nats_of_logits(model: Any, micro: Packed) -> Tensor:
    """Return −ln p of each target by the model's own logits."""
    logits_BTV = model(input_ids=micro.inputs_BT, use_cache=False).logits
    dtype = torch.promote_types(logits_BTV.dtype, torch.float32)  # autocast's are coarser
    return cross_entropy(
        logits_BTV.flatten(0, 1).to(dtype),
        micro.targets_BT.flatten(),
        ignore_index=NOT_COUNTED,
        reduction="none",
    ).view_as(micro.targets_BT)
