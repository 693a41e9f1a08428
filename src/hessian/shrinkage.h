// What an expert's linears are solved against when few tokens reach it.
//
// The Gram of n tokens in `width` dimensions is singular for n < width and noisy well beyond. An
// expert that saw at least `enough` tokens keeps its own. One that saw fewer gets
//
//   H = a H_own + (1 - a) H_pooled,   a = n / enough,
//
// where H_pooled is the block's: the mean over every row that is routed to any of its experts. With
// no token at all that is the pooled one alone.
#pragma once

#include <cstdint>
#include <string>

#include "base/view.h"
#include "hessian/gram.h"

namespace coldpress {

struct ExpertHessian {
  MatrixF h;           // both triangles
  int64_t tokens = 0;  // that most of it is the mean of
  std::string policy;  // "own", or "pooled" with how much of it, in words
};

ExpertHessian expert_hessian(const Gram& own, const Gram& pooled, int64_t enough);

}  // namespace coldpress
