// How far two rows of logits are apart, as distributions over the vocabulary.
#pragma once

#include <span>

namespace coldpress {

struct RowDivergence {
  double forward = 0;  // KL(p || q) = sum_v p_v log(p_v / q_v), in nats
  double reverse = 0;  // KL(q || p)
  bool same_top = false;
};

// p and q: the softmax of `p_logits` and of `q_logits`, of one length. Exponentials are fp32, sums
// fp64 over blocks of fixed size; identical rows give exactly 0, and rounding never gives less than
// 0. The top is the first of the largest logits. NaN if either row holds a NaN or its maximum is
// not finite.
RowDivergence row_divergence(std::span<const float> p_logits, std::span<const float> q_logits);

}  // namespace coldpress
