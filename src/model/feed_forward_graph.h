// The feed-forward of one block, between taps 2 and 3.
#pragma once

#include "model/block_graph.h"

namespace coldpress {

// x (hidden, T) -> (ffn, T): act(gate(x)) * up(x), or act(up(x)) where the block has no gate.
ggml_tensor* feed_forward_mid(BlockGraph& block, ggml_tensor* x);

// act(gate) * up.
ggml_tensor* gated(BlockGraph& block, ggml_tensor* gate, ggml_tensor* up);

}  // namespace coldpress
