#include "hessian/shrinkage.h"

#include <fmt/format.h>

namespace coldpress {

ExpertHessian expert_hessian(const Gram& own, const Gram& pooled, int64_t enough) {
  if (own.tokens() >= enough) return {own.normalised(), own.tokens(), "own"};
  ExpertHessian result{pooled.normalised(), pooled.tokens(),
                       "pooled: no token was routed to this expert"};
  if (own.tokens() == 0) return result;
  const double a = static_cast<double>(own.tokens()) / static_cast<double>(enough);
  const MatrixF h = own.normalised();
  for (int64_t i = 0; i < h.size(); ++i) {
    result.h.data()[i] = static_cast<float>(a * h.data()[i] + (1 - a) * result.h.data()[i]);
  }
  result.policy = fmt::format("pooled: {} of {} tokens, so {:.3f} of the Gram is the block's",
                              own.tokens(), enough, 1 - a);
  return result;
}

}  // namespace coldpress
