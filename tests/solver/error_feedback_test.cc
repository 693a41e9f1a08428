#include "solver/error_feedback.h"

#include <gtest/gtest.h>

#include "grid/block_format.h"
#include "grid/grid.h"
#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

using testing::HessianKind;

// What error feedback says a row's error is, without a product, is what the product gives.
void expect_errors_of(const GridOptions& options, int64_t columns = 64) {
  testing::Fixture f = testing::make_fixture(20, columns, HessianKind::kCorrelated, 4, options);
  const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
  const Strip strip(problem, 0, 20);
  ThreadPool pool(1);
  const GptqFactor* factor = f.hessian.gptq_factor(strip.tuple(), pool);
  ASSERT_NE(factor, nullptr);
  const Feedback feedback = error_feedback(strip, *factor);
  const std::vector<double> estimated = estimated_errors(strip, *factor, feedback);
  MatrixF e(strip.n(), strip.lanes());
  MatrixF product(strip.n(), strip.lanes());
  strip.w_minus(feedback.q.view(), e.view());
  const std::vector<double> errors = strip.errors(e.view(), product.view());
  ASSERT_EQ(estimated.size(), errors.size());
  for (std::size_t i = 0; i < errors.size(); ++i) {
    const double unit =
        f.hessian.scale() * static_cast<double>(strip.row_unit(static_cast<int64_t>(i)));
    EXPECT_NEAR(estimated[i] * unit * unit, errors[i], 1e-3 * errors[i]) << "row " << i;
  }
}

TEST(ErrorFeedback, KnowsItsErrors) { expect_errors_of({.bits = 3, .group = 16}); }

TEST(ErrorFeedback, KnowsItsErrorsPerChannel) { expect_errors_of({.bits = 2, .group = 0}); }

TEST(ErrorFeedback, KnowsItsErrorsWhereColumnsAreChosenTogether) {
  expect_errors_of({.kind = "iq2_xs", .bits = (*find_grid("iq2_xs"))->block->bits}, 256);
}

}  // namespace
}  // namespace coldpress
