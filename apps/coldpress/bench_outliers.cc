// bench layers --outliers: every way to keep a few weights beside the grid, at equal bits.
#include <fmt/format.h>

#include <array>
#include <iostream>

#include "base/clock.h"
#include "bench.h"
#include "io/json.h"
#include "solver/table.h"
#include "terminal.h"

namespace coldpress::cli {
namespace {

struct Contender {
  const char* label;
  const char* method;
  OutlierSelector selector;
  OutlierMode mode;
};
constexpr std::array<Contender, 4> kContenders = {{
    {"GPTQ + magnitude", "gptq-outliers", OutlierSelector::kMagnitude, OutlierMode::kUnstructured},
    {"GPTQ + sensitivity", "gptq-outliers", OutlierSelector::kSensitivity,
     OutlierMode::kUnstructured},
    {"QuantEase + IHT", "quantease-outliers", OutlierSelector::kIterative,
     OutlierMode::kUnstructured},
    {"QuantEase + IHT, columns", "quantease-outliers", OutlierSelector::kIterative,
     OutlierMode::kColumns},
}};

}  // namespace

Status compare_outliers(const OutlierBench& bench, std::vector<BenchProblem>* problems,
                        ThreadPool& pool, Json* rows) {
  std::vector<std::vector<std::string>> table = {{"method"}};
  for (const BenchProblem& p : *problems) {
    table.front().push_back(p.name.substr(p.name.find('.') + 1));
  }
  for (const char* heading : {"mean", "bits", "seconds"}) table.front().emplace_back(heading);
  const GridFit fit{bench.kind, bench.grid};
  for (const Contender& c : kContenders) {
    COLDPRESS_ASSIGN_OR_RETURN(const SolverMethod* method, find_solver(c.method));
    SolverOptions options = bench.solver;
    options.outlier_selector = c.selector;
    options.outlier_mode = c.mode;
    Json layers = Json::object();
    std::vector<std::string> line = {c.label};
    double error = 0;
    double bits = 0;
    double weights = 0;
    double seconds = 0;
    for (BenchProblem& p : *problems) {
      const QuantGrid grid = bench.kind->fit(bench.grid, p.w.view(), p.hessian.diagonal());
      const double start = seconds_now();
      const LayerSolution s =
          method->solve({p.w.view(), &p.hessian, &grid, {}, &fit}, options, pool);
      seconds += seconds_now() - start;
      const double effective =
          bench.kind->bits_per_weight(bench.grid, p.w.cols()) + s.side_bits_per_weight();
      error += s.relative_error();
      bits += effective * static_cast<double>(p.w.size());
      weights += static_cast<double>(p.w.size());
      line.push_back(fmt::format("{:.5f}", s.relative_error()));
      layers[p.name] = {{"error", s.relative_error()}, {"bits_per_weight", effective}};
    }
    error /= static_cast<double>(problems->size());
    line.push_back(fmt::format("{:.5f}", error));
    line.push_back(fmt::format("{:.3f}", bits / weights));
    line.push_back(fmt::format("{:.2f}", seconds));
    table.push_back(line);
    if (rows != nullptr) {
      rows->push_back({{"method", c.label},
                       {"bits", bench.grid.bits},
                       {"group", bench.grid.group},
                       {"outliers", bench.solver.outlier_fraction},
                       {"layers", layers},
                       {"mean_error", error},
                       {"bits_per_weight", bits / weights},
                       {"seconds", seconds}});
    }
  }
  if (rows == nullptr) {
    std::cout << fmt::format("\n{}, outliers {:g}\n{}\n", bench.title,
                             bench.solver.outlier_fraction, text_table(table));
  }
  return {};
}

}  // namespace coldpress::cli
