// Error propagation (QEP, 2504.09629): each linear is asked for what the unquantised model would
// give, not for what its own weights make of inputs that are wrong already.
//
//   minimise E |y - Q x^|^2  =  tr((Q - W*) H (Q - W*)^T) + const,   H = E x^ x^^T,
//   y = W x                     W* = W + W a E[(x - x^) x^^T] (H + l I)^-1
//   y = W x + (r - r^) / s      W* = W + a E[(y - W x^) x^^T] (H + l I)^-1
//
// with r the residual stream that the output is added to, times s (config.residual_scale): o and
// down also correct what has gone wrong in it so far, as far as their inputs tell (not in the
// paper). Their regression is of outputs, which are fewer than down's inputs. Any solver then works
// on W* in place of W.
//
// a, diagonal: one factor for each channel of x, or of y. The regression fits noise too, the more
// the fewer the tokens; at a = 1 the model gets worse on other text. So each half of the windows
// predicts the other half's drift, and a is the factor in 0..1 with which that prediction is best:
// 0 where it is of no use.
#pragma once

#include <vector>

#include "calibration/gram_source.h"
#include "parallel/thread_pool.h"

namespace coldpress {

class TargetShift {
 public:
  // Empty, so that apply() does nothing: no drift to make good.
  TargetShift() = default;
  // Empty where `sums` has no drift, or its Gram cannot be inverted.
  TargetShift(const TapSums& sums, double residual_scale, ThreadPool& pool);

  // W (out, in) becomes W*.
  void apply(View2<float> w, ThreadPool& pool) const;

  const std::vector<double>& shares() const { return shares_; }  // a

 private:
  bool is_of_stream_ = false;  // hessian/drift.h
  MatrixF shift_;  // (in, in): a E[(x - x^) x^^T] (H + l I)^-1; of the stream: (out, in), W* - W
  std::vector<double> shares_;
};

}  // namespace coldpress
