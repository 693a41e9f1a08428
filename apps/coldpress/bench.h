// What the subcommands of `bench` share.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/view.h"
#include "io/json_type.h"
#include "parallel/thread_pool.h"
#include "solver/solver.h"
#include "solver/tap_hessian.h"
#include "verbs.h"

namespace coldpress::cli {

void add_bench_gemm(CLI::App& bench, Run& run);
void add_bench_layers(CLI::App& bench, Run& run);
void add_bench_model(CLI::App& bench, Run& run);
void add_bench_matrix(CLI::App& bench, Run& run);

// One captured linear: its weights and the Hessian of its inputs.
struct BenchProblem {
  std::string name;
  MatrixF w;
  TapHessian hessian;
};

// Every pair of tensors NAME.W (out, in) and NAME.H (in, in) of a safetensors file, by name.
Result<std::vector<BenchProblem>> read_bench_problems(const std::string& path);

// Compares the ways to keep outliers on every problem. Results go to `rows`, or where it is null to
// stdout as one table.
struct OutlierBench {
  std::string title;
  const GridKind* kind;
  GridOptions grid;
  SolverOptions solver;  // with its outlier_fraction
};
Status compare_outliers(const OutlierBench& bench, std::vector<BenchProblem>* problems,
                        ThreadPool& pool, Json* rows);

// This machine's SGEMM rate with every thread at work, in GFLOP/s.
double measure_gemm_rate(ThreadPool& pool);

}  // namespace coldpress::cli
