// The figures to beat (ALGORITHMS.md §2), on the captured layer problems.
#include <gtest/gtest.h>

#include "tests/solver/captured_problems.h"
#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

struct Figure {
  const char* method;
  int bits;
  int64_t group;
  Clip clip;
  double reference;
  double slack;  // relative
};

// Mean relative error over the five linears: at or below the reference, with 1 % slack; RTN within
// 0.5 % of it either way.
class Figures : public ::testing::TestWithParam<Figure> {};

TEST_P(Figures, AtOrBelowTheReference) {
  std::vector<testing::CapturedProblem> problems = testing::captured_problems();
  if (problems.empty()) GTEST_SKIP() << testing::captured_path() << " is absent";
  ASSERT_EQ(problems.size(), 5U);
  const Figure& figure = GetParam();
  ThreadPool pool(2);
  double sum = 0;
  for (testing::CapturedProblem& p : problems) {
    const GridOptions options{.bits = figure.bits, .group = figure.group, .clip = figure.clip};
    const QuantGrid grid = (*find_grid("affine"))->fit(options, p.w.view(), p.hessian.diagonal());
    sum += (*find_solver(figure.method))
               ->solve({p.w.view(), &p.hessian, &grid, {}}, {}, pool)
               .relative_error();
  }
  const double mean = sum / 5;
  EXPECT_LE(mean, figure.reference * (1 + figure.slack));
  if (std::string(figure.method) == "rtn") {
    EXPECT_GE(mean, figure.reference * (1 - figure.slack));
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Figures,
                         ::testing::Values(Figure{"rtn", 3, 0, Clip::kNone, 0.0896, 0.005},
                                           Figure{"rtn", 3, 0, Clip::kHessian, 0.0445, 0.005},
                                           Figure{"rtn", 2, 64, Clip::kNone, 0.1968, 0.005},
                                           Figure{"rtn", 2, 64, Clip::kHessian, 0.1073, 0.005},
                                           Figure{"gptq", 3, 0, Clip::kNone, 0.0307, 0.01},
                                           Figure{"gptq", 3, 0, Clip::kHessian, 0.0178, 0.01},
                                           Figure{"gptq", 2, 64, Clip::kNone, 0.0781, 0.01},
                                           Figure{"gptq", 2, 64, Clip::kHessian, 0.0514, 0.01},
                                           Figure{"quantease", 3, 0, Clip::kNone, 0.0310, 0.01},
                                           Figure{"quantease", 3, 0, Clip::kHessian, 0.0165, 0.01},
                                           Figure{"quantease", 2, 64, Clip::kNone, 0.0764, 0.01},
                                           Figure{"quantease", 2, 64, Clip::kHessian, 0.0463, 0.01},
                                           Figure{"admm-q", 3, 0, Clip::kNone, 0.0280, 0.01},
                                           Figure{"admm-q", 3, 0, Clip::kHessian, 0.0151, 0.01},
                                           Figure{"admm-q", 2, 64, Clip::kNone, 0.0697, 0.01},
                                           Figure{"admm-q", 2, 64, Clip::kHessian, 0.0429, 0.01}));

}  // namespace
}  // namespace coldpress
