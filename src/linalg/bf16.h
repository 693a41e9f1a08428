// Products of matrices that are rounded to bf16 (2^-8 of a value at most is lost), summed in fp32:
// twice as fast as gemm() where the processor has them (AVX512-BF16), and gemm() itself elsewhere.
// For sums and searches whose own noise is far above that rounding, such as the steps of ADMM
// before local search; never for an H or an error that is reported.
//
// As in blas.h: row-major, one thread, and the same bytes for the same arguments.
#pragma once

#include <cstdint>
#include <vector>

#include "base/view.h"
#include "linalg/blas.h"

namespace coldpress {

// Whether products are of bf16 here; else they are gemm's.
bool has_bf16_products();

// Room for packed operands, kept from call to call by whoever multiplies.
struct Bf16Scratch {
  std::vector<uint32_t> left;
  std::vector<uint32_t> right;
};

// C <- op(A) op(B), or C + op(A) op(B) with `add`.
void gemm_bf16(Trans ta, Trans tb, View2<const float> a, View2<const float> b, bool add,
               View2<float> c, Bf16Scratch* scratch);

// A matrix A that many others are multiplied with. It holds 2 bytes per entry, or, without products
// of bf16, 4.
class Bf16Left {
 public:
  Bf16Left() = default;  // of no rows
  explicit Bf16Left(MatrixF transposed);

  // C <- A B.
  void multiply(View2<const float> b, View2<float> c, Bf16Scratch* scratch) const;

 private:
  int64_t rows_ = 0;
  int64_t cols_ = 0;
  Matrix<uint32_t> packed_;
  MatrixF transposed_;  // in place of packed_
};

}  // namespace coldpress
