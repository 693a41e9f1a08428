// coldpress bench model MODEL: presses a model block by block and, on every layer problem that it
// meets, compares the method that presses with others.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "bench.h"
#include "io/json.h"
#include "pipeline/driver.h"
#include "press_options.h"
#include "solver/table.h"
#include "terminal.h"

namespace coldpress::cli {
namespace {

struct Options {
  PressOptions press;
  std::vector<std::string> against = {"gptq", "quantease"};
};

// One linear: the error of the pressing method, then of each method it is compared with.
struct Row {
  TensorReport report;
  std::vector<double> errors;
};

struct Comparison {
  std::vector<std::string> methods;  // the pressing one first
  std::vector<Row> rows;

  double mean(std::size_t method, const std::string& role) const {
    double sum = 0;
    int64_t count = 0;
    for (const Row& row : rows) {
      if (!role.empty() && row.report.role != role) continue;
      sum += row.errors[method];
      ++count;
    }
    return count > 0 ? sum / static_cast<double>(count) : 0;
  }
  // Linears where the pressing method is above `method`.
  int64_t worse_than(std::size_t method) const {
    return std::count_if(rows.begin(), rows.end(),
                         [&](const Row& row) { return row.errors[0] > row.errors[method]; });
  }
  // The largest error of the pressing method, as a multiple of `method`'s on the same linear.
  double largest_ratio(std::size_t method) const {
    double largest = 0;
    for (const Row& row : rows) {
      if (row.errors[method] > 0) largest = std::max(largest, row.errors[0] / row.errors[method]);
    }
    return largest;
  }
};

Json to_json(const Comparison& c, const Plan& plan) {
  Json linears = Json::array();
  for (const Row& row : c.rows) {
    Json errors;
    for (std::size_t m = 0; m < c.methods.size(); ++m) errors[c.methods[m]] = row.errors[m];
    linears.push_back({{"name", row.report.name},
                       {"role", row.report.role},
                       {"block", row.report.block},
                       {"rtn_error", row.report.rtn_error},
                       {"bound", row.report.bound},
                       {"errors", std::move(errors)}});
  }
  Json against;
  for (std::size_t m = 1; m < c.methods.size(); ++m) {
    against[c.methods[m]] = {{"mean_error", c.mean(m, "")},
                             {"linears_where_better", c.worse_than(m)},
                             {"largest_ratio", c.largest_ratio(m)}};
  }
  return {{"recipe", recipe_to_json(plan.recipe)},
          {"mean_error", c.mean(0, "")},
          {"against", std::move(against)},
          {"linears", std::move(linears)}};
}

void print_table(const Comparison& c) {
  std::vector<std::string> roles;
  for (const Row& row : c.rows) {
    if (std::find(roles.begin(), roles.end(), row.report.role) == roles.end()) {
      roles.push_back(row.report.role);
    }
  }
  std::vector<std::vector<std::string>> table = {{"mean error"}};
  for (const std::string& method : c.methods) table[0].push_back(method);
  roles.emplace_back();  // all of them
  for (const std::string& role : roles) {
    table.push_back({role.empty() ? "all" : role});
    for (std::size_t m = 0; m < c.methods.size(); ++m) {
      table.back().push_back(fmt::format("{:.5f}", c.mean(m, role)));
    }
  }
  std::cout << text_table(table);
  for (std::size_t m = 1; m < c.methods.size(); ++m) {
    std::cout << fmt::format("{} is above {} on {} of {} linears; at most {:.3f} times its error\n",
                             c.methods[0], c.methods[m], c.worse_than(m), c.rows.size(),
                             c.largest_ratio(m));
  }
}

Status run_model(const Options& o) {
  const int threads = thread_count(o.press.threads);
  std::vector<const SolverMethod*> others;
  Comparison comparison{{o.press.recipe.method}, {}};
  for (const std::string& name : o.against) {
    COLDPRESS_ASSIGN_OR_RETURN(const SolverMethod* method, find_solver_on_grid(name, "--against"));
    others.push_back(method);
    comparison.methods.push_back(name);
  }
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> source, Model::open(o.press.model));
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<TransformedModel> model,
                             open_transformed(*source, o.press.recipe));
  COLDPRESS_ASSIGN_OR_RETURN(const Plan plan, make_plan(*model, o.press.recipe, threads));
  COLDPRESS_ASSIGN_OR_RETURN(const CalibrationWindows windows, read_windows(o.press));
  ThreadPool pool(threads);
  COLDPRESS_RETURN_IF_ERROR(model->learn(windows, pool));
  ProgressBar bar("comparing");
  DriverHooks hooks;
  hooks.put = [](const std::string&, const PressedTensor&) { return Status(); };
  hooks.progress = [&](const Progress& p) {
    bar.update(p.done, p.total, fmt::format("block {}/{}", p.block + 1, p.blocks));
  };
  hooks.inspect = [&](const LayerProblem& problem, const TensorReport& report) {
    Row row{report, {report.error}};
    for (const SolverMethod* method : others) {
      const LayerSolution solution = method->solve(problem, plan.recipe.solver, pool);
      row.errors.push_back(solution.relative_error());
    }
    comparison.rows.push_back(std::move(row));
  };
  COLDPRESS_RETURN_IF_ERROR(run_plan(*model, plan, windows, hooks, pool).status());
  bar.finish();
  if (o.press.json) {
    std::cout << to_json(comparison, plan).dump(2) << "\n";
  } else {
    print_table(comparison);
  }
  return {};
}

}  // namespace

void add_bench_model(CLI::App& bench, Run& run) {
  CLI::App* verb = bench.add_subcommand(
      "model", "Press a model, and compare methods on every layer problem on the way");
  auto options = std::make_shared<Options>();
  add_press_options(*verb, options->press);
  verb->add_option("--against", options->against, "Methods that solve the same problems")
      ->delimiter(',')
      ->capture_default_str();
  verb->callback([options, &run] { run = [options] { return run_model(*options); }; });
}

}  // namespace coldpress::cli
