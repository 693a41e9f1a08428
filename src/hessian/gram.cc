#include "hessian/gram.h"

#include "linalg/blas.h"

namespace coldpress {

Result<Gram> Gram::create(int64_t n, const Memory& memory) {
  Gram gram;
  COLDPRESS_ASSIGN_OR_RETURN(gram.sum_, MatrixD::create(n, n, memory));
  return gram;
}

Gram Gram::diagonal(std::span<const double> sums, int64_t tokens) {
  Gram gram(static_cast<int64_t>(sums.size()));
  for (int64_t i = 0; i < gram.n(); ++i) {
    gram.sum_(i, i) = sums[static_cast<std::size_t>(i)];
  }
  gram.tokens_ = tokens;
  return gram;
}

void Gram::add(View2<const float> lower, int64_t tokens) {
  COLDPRESS_CHECK(lower.rows == n() && lower.cols == n());
  for (int64_t i = 0; i < n(); ++i) {
    double* sum = sum_.row(i);
    const float* shard = lower.row(i);
    for (int64_t j = 0; j <= i; ++j) sum[j] += static_cast<double>(shard[j]);
  }
  tokens_ += tokens;
}

void Gram::add(const Gram& other) {
  COLDPRESS_CHECK(other.n() == n());
  for (int64_t i = 0; i < n(); ++i) {
    for (int64_t j = 0; j <= i; ++j) sum_(i, j) += other.sum_(i, j);
  }
  tokens_ += other.tokens_;
}

namespace {

// sum_at(i, j), the lower triangle of a sum over `tokens` tokens, divided by them.
template <typename SumAt>
MatrixF divided(int64_t n, int64_t tokens, SumAt sum_at) {
  MatrixF h(n, n);
  const double by = tokens > 0 ? 1.0 / static_cast<double>(tokens) : 0.0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) h(i, j) = static_cast<float>(sum_at(i, j) * by);
  }
  mirror_lower(h.view());
  return h;
}

}  // namespace

MatrixF Gram::normalised() const {
  return divided(n(), tokens_, [this](int64_t i, int64_t j) { return sum_(i, j); });
}

MatrixF Gram::normalised_without(const Gram& part) const {
  COLDPRESS_CHECK(part.n() == n());
  return divided(n(), tokens_ - part.tokens_,
                 [&](int64_t i, int64_t j) { return sum_(i, j) - part.sum_(i, j); });
}

}  // namespace coldpress
