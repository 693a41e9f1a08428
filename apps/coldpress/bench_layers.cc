// coldpress bench layers FILE: methods x grids x bits on captured layer problems (tensors NAME.W
// and NAME.H), or the ablation of ADMM-Q's paper on them.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "bench.h"
#include "common_options.h"
#include "grid/block_format.h"
#include "grid/table.h"
#include "io/json.h"
#include "solver/bound.h"
#include "solver/table.h"
#include "terminal.h"

namespace coldpress::cli {
namespace {

struct Options {
  std::string file;
  std::vector<std::string> methods;  // empty: all
  std::vector<std::string> grids = {"affine"};
  std::vector<int> bits;        // empty: the grid's own, else 3
  std::vector<int64_t> groups;  // empty: per channel; --ablation: 64 at 2 bits
  GridOptions grid;             // of every setting, but for kind, bits and group
  std::string init;
  bool ablation = false;
  bool json = false;
  int threads = 0;  // 0: all cores
  SolverOptions solver;
};

struct Setting {
  const GridKind* kind;
  GridOptions grid;
};

// One method on every problem.
struct Measurement {
  Json layers = Json::object();
  std::vector<double> errors;  // relative, in the order of the problems
  double mean_error = 0;
  double multiple_of_bound = 0;
  double seconds = 0;
  double gflops = 0;
};

struct Bench {
  const Options& options;
  std::vector<BenchProblem> problems;
  double gemm_rate;
  ThreadPool& pool;
  Json report;
};

std::string setting_name(const Setting& s) {
  return fmt::format("{}{}, {} bits, {}, {} range", s.grid.kind,
                     s.grid.symmetric ? " symmetric" : "", s.grid.bits,
                     s.grid.group == 0 ? "per channel" : fmt::format("group {}", s.grid.group),
                     s.grid.clip == Clip::kNone ? "min-max" : "clipped");
}

Measurement measure(const SolverMethod& method, const SolverOptions& options, const Setting& s,
                    Bench* bench) {
  Measurement m;
  double bounds = 0;
  double flops = 0;
  for (BenchProblem& p : bench->problems) {
    const QuantGrid grid = s.kind->fit(s.grid, p.w.view(), p.hessian.diagonal());
    const double start = seconds_now();
    const LayerSolution solution =
        method.solve({p.w.view(), &p.hessian, &grid, {}}, options, bench->pool);
    m.seconds += seconds_now() - start;
    flops += solution.gemm_flops;
    const double unit = p.hessian.scale() * p.hessian.scale();
    const double bound =
        solution.energy > 0
            ? unit *
                  rate_distortion_bound(p.w.view(), p.hessian.spectrum(bench->pool), s.grid.bits) /
                  solution.energy
            : 0;
    bounds += bound;
    m.mean_error += solution.relative_error();
    m.errors.push_back(solution.relative_error());
    m.layers[p.name] = {{"error", solution.relative_error()},
                        {"rtn_error", solution.relative_rtn_error()},
                        {"bound", bound}};
  }
  m.multiple_of_bound = bounds > 0 ? m.mean_error / bounds : 0;
  m.mean_error /= static_cast<double>(bench->problems.size());
  m.gflops = m.seconds > 0 ? 1e-9 * flops / m.seconds : 0;
  return m;
}

Json json_row(const Setting& s, const Measurement& m, double gemm_rate) {
  return {{"grid", s.grid.kind},
          {"bits", s.grid.bits},
          {"group", s.grid.group},
          {"symmetric", s.grid.symmetric},
          {"clip", s.grid.clip == Clip::kNone ? "none" : "hessian"},
          {"layers", m.layers},
          {"mean_error", m.mean_error},
          {"multiple_of_bound", m.multiple_of_bound},
          {"seconds", m.seconds},
          {"gflops", m.gflops},
          {"share_of_gemm_rate", m.gflops / gemm_rate}};
}

// Every method on one setting.
void compare_methods(const std::vector<const SolverMethod*>& methods, const Setting& s,
                     Bench* bench) {
  std::vector<std::vector<std::string>> table = {{"method"}};
  for (const BenchProblem& p : bench->problems) {
    table[0].push_back(p.name.substr(p.name.find('.') + 1));
  }
  for (const char* heading : {"mean", "xbound", "seconds", "GFLOP/s", "of SGEMM"}) {
    table[0].emplace_back(heading);
  }
  double least = 0;
  std::string summary;
  ProgressBar progress(setting_name(s));
  for (const SolverMethod* method : methods) {
    const Measurement m = measure(*method, bench->options.solver, s, bench);
    progress.update(static_cast<int64_t>(table.size()), static_cast<int64_t>(methods.size()));
    std::vector<std::string> line = {std::string(method->name)};
    for (const double e : m.errors) line.push_back(fmt::format("{:.5f}", e));
    line.push_back(fmt::format("{:.5f}", m.mean_error));
    line.push_back(fmt::format("{:.2f}", m.multiple_of_bound));
    line.push_back(fmt::format("{:.2f}", m.seconds));
    line.push_back(fmt::format("{:.0f}", m.gflops));
    line.push_back(fmt::format("{:.0f}%", 100 * m.gflops / bench->gemm_rate));
    table.push_back(line);
    Json row = json_row(s, m, bench->gemm_rate);
    row["method"] = std::string(method->name);
    bench->report["rows"].push_back(row);
    if (summary.empty() || m.mean_error < least) {
      least = m.mean_error;
      summary = fmt::format("least: {}, mean error {:.5f}, {:.2f} times the bound", method->name,
                            m.mean_error, m.multiple_of_bound);
    }
  }
  progress.finish();
  if (bench->options.json) return;
  std::cout << "\n" << setting_name(s) << "\n" << text_table(table) << summary << std::endl;
}

struct Variation {
  const char* name;
  void (*apply)(SolverOptions* options);
};

// The paper's ablation. Its method has a fixed grid; ours also moves scales, so that is the last
// row and not the reference.
constexpr Variation kVariations[] = {
    {"full method, frozen grid", [](SolverOptions* o) { o->move_scales = false; }},
    {"without preconditioning",
     [](SolverOptions* o) {
       o->move_scales = false;
       o->precondition = false;
     }},
    {"fixed rho",
     [](SolverOptions* o) {
       o->move_scales = false;
       o->grow_rho = false;
     }},
    {"without local search",
     [](SolverOptions* o) {
       o->move_scales = false;
       o->local_search = 0;
     }},
    {"with moving scales", [](SolverOptions*) {}},
};

void ablate(const SolverMethod& method, const Setting& s, Bench* bench) {
  std::vector<std::vector<std::string>> table = {
      {std::string(method.name), "mean", "change", "xbound", "seconds"}};
  double full = 0;
  ProgressBar progress(setting_name(s));
  for (const Variation& v : kVariations) {
    SolverOptions options = bench->options.solver;
    v.apply(&options);
    const Measurement m = measure(method, options, s, bench);
    progress.update(static_cast<int64_t>(table.size()), std::ssize(kVariations));
    if (table.size() == 1) full = m.mean_error;
    const double change = full > 0 ? 100 * (m.mean_error / full - 1) : 0;
    table.push_back({v.name, fmt::format("{:.5f}", m.mean_error),
                     table.size() == 1 ? "0%" : fmt::format("{:+.1f}%", change),
                     fmt::format("{:.2f}", m.multiple_of_bound), fmt::format("{:.2f}", m.seconds)});
    Json row = json_row(s, m, bench->gemm_rate);
    row["method"] = std::string(method.name);
    row["variation"] = v.name;
    row["change_percent"] = change;
    bench->report["rows"].push_back(row);
  }
  progress.finish();
  if (bench->options.json) return;
  std::cout << "\n" << setting_name(s) << "\n" << text_table(table) << std::flush;
}

// Every setting the options ask for, checked against every problem before any work.
Result<std::vector<Setting>> make_settings(const Options& o,
                                           const std::vector<BenchProblem>& problems) {
  std::vector<Setting> settings;
  for (const std::string& name : o.grids) {
    COLDPRESS_ASSIGN_OR_RETURN(const GridKind* kind, find_grid(name));
    if (o.solver.outlier_fraction > 0 && kind->block != nullptr && kind->block->vectors.words > 0) {
      return invalid_argument(
          fmt::format("--grid {} gives 8 columns one codeword together, beside which no single "
                      "weight can stand; leave --outliers out",
                      name));
    }
    std::vector<int> bits = o.bits;
    if (bits.empty()) bits = o.ablation ? std::vector<int>{2, 3, 4} : std::vector<int>{3};
    const bool has_fixed = std::find(bits.begin(), bits.end(), kind->fixed_bits) != bits.end();
    // --bits is for the grids that have a choice; a table needs only not to be excluded by it.
    if (kind->fixed_bits != 0 && (o.bits.empty() || has_fixed)) bits = {kind->fixed_bits};
    for (const int b : bits) {
      std::vector<int64_t> groups = o.groups;
      if (groups.empty()) groups = {o.ablation && b == 2 ? 64 : 0};
      for (const int64_t group : groups) {
        GridOptions grid = o.grid;
        grid.kind = name;
        grid.bits = b;
        grid.group = group;
        for (const BenchProblem& p : problems) {
          const Status status = kind->check(grid, p.w.cols());
          if (!status.ok()) return invalid_argument(p.name + ": " + status.message());
        }
        settings.push_back({kind, grid});
      }
    }
  }
  return settings;
}

Status run_layers(Options o) {
  if (!o.init.empty()) {
    COLDPRESS_ASSIGN_OR_RETURN(o.solver.init, find_solver_on_grid(o.init, "--init"));
  }
  std::vector<const SolverMethod*> methods;
  for (const SolverMethod* method : solver_table()) {
    if (!method->takes_outliers) methods.push_back(method);  // they are compared by --outliers
  }
  if (o.ablation) methods.assign(1, *find_solver("admm-q"));
  if (!o.methods.empty()) {
    if (o.ablation) return invalid_argument("--ablation is of admm-q; leave --method out");
    methods.clear();
    for (const std::string& name : o.methods) {
      COLDPRESS_ASSIGN_OR_RETURN(const SolverMethod* method, find_solver(name));
      methods.push_back(method);
    }
  }
  COLDPRESS_ASSIGN_OR_RETURN(std::vector<BenchProblem> problems, read_bench_problems(o.file));
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<Setting> settings, make_settings(o, problems));
  ThreadPool pool(thread_count(o.threads));
  Bench bench{o, std::move(problems), measure_gemm_rate(pool), pool, {}};
  bench.report = {
      {"gemm_gflops", bench.gemm_rate}, {"threads", pool.threads()}, {"rows", Json::array()}};
  if (!o.json) {
    std::cout << fmt::format("{} layer problems, {} threads, SGEMM {:.0f} GFLOP/s\n",
                             bench.problems.size(), pool.threads(), bench.gemm_rate);
  }
  for (const Setting& s : settings) {
    if (o.solver.outlier_fraction > 0) {
      COLDPRESS_RETURN_IF_ERROR(compare_outliers({setting_name(s), s.kind, s.grid, o.solver},
                                                 &bench.problems, pool,
                                                 o.json ? &bench.report["rows"] : nullptr));
    } else if (o.ablation) {
      ablate(*methods.front(), s, &bench);
    } else {
      compare_methods(methods, s, &bench);
    }
  }
  if (o.json) std::cout << bench.report.dump(2) << "\n";
  return {};
}

}  // namespace

void add_bench_layers(CLI::App& bench, Run& run) {
  CLI::App* layers = bench.add_subcommand("layers", "Every method on the layers of one file");
  auto options = std::make_shared<Options>();
  layers->add_option("FILE", options->file, "safetensors with tensors NAME.W and NAME.H")
      ->required();
  layers->add_option("--method", options->methods, "methods to run (default: all)")->delimiter(',');
  layers->add_option("--grid", options->grids, "affine, nf4, fp4, one or more")->delimiter(',');
  layers
      ->add_option("--bits", options->bits,
                   "bits per weight, one or more (default: 3; nf4, fp4: 4; --ablation: 2,3,4)")
      ->delimiter(',');
  layers
      ->add_option("--group", options->groups,
                   "columns per group, 0: per channel (default: 0; --ablation: 64 at 2 bits)")
      ->delimiter(',');
  add_range_options(*layers, options->grid);
  layers->add_option("--refit", options->solver.refit_rounds,
                     "rtn, gptq, quantease: most rounds of scale refit");
  layers->add_option("--init", options->init, "quantease: method whose result it starts from");
  layers->add_option("--iterations", options->solver.iterations, "of the method (0: its default)");
  layers->add_option("--effort", options->solver.effort, "1 (fast) to 5 (best)")
      ->check(CLI::Range(1, 5));
  layers->add_flag("--ablation", options->ablation,
                   "admm-q with parts of it switched off, beside the full method");
  layers
      ->add_option("--outliers", options->solver.outlier_fraction,
                   "compare methods that keep this fraction of the weights beside the grid")
      ->check(CLI::Range(0.0, 0.5))
      ->excludes("--method")
      ->excludes("--ablation");
  layers->add_option("--threads", options->threads, "threads (default: all cores)");
  layers->add_flag("--json", options->json, "print JSON");
  layers->callback([options, &run] { run = [options] { return run_layers(*options); }; });
}

}  // namespace coldpress::cli
