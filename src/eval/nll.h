// The negative log-likelihood of one token under a row of logits.
#pragma once

#include <cstdint>
#include <span>

namespace coldpress {

// log(sum_v exp(logits[v])) - logits[target], in nats. The maximum is taken out first; exponentials
// are fp32 (2 units in the last place), their sum is fp64, in an order that depends on the length
// only. NaN if any logit is NaN or the maximum is not finite. `target` must be a valid index.
double negative_log_likelihood(std::span<const float> logits, int32_t target);

}  // namespace coldpress
