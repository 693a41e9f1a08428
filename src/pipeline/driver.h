// The driver: the only code that knows the whole story of a run.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/memory.h"
#include "calibration/gram_source.h"
#include "calibration/streamer.h"
#include "calibration/windows.h"
#include "distributed/comm.h"
#include "export/export.h"
#include "model/model.h"
#include "parallel/thread_pool.h"
#include "pipeline/plan.h"
#include "solver/solver.h"

namespace coldpress {

class WorkFolder;

// What happened to one quantised tensor.
struct TensorReport {
  std::string name;
  std::string role;
  std::string tap;
  int block = 0;  // -1: outside the blocks
  int64_t rows = 0;
  int64_t cols = 0;
  double error = 0;      // relative: f / tr(W H W^T)
  double rtn_error = 0;  // of RTN on the same grid
  double bound = 0;      // rate-distortion bound, relative
  int64_t calibration_tokens = 0;
  Outcome outcome;
  double side_bits_per_weight = 0;  // of what is kept beside the grid
  int expert = -1;                  // of a mixture of experts; -1: dense
  std::string policy;               // of an expert: whose Gram it was solved against
};

// Wall seconds per phase. Forward and Gram run interleaved on all workers: worker seconds /
// threads.
struct PhaseTimes {
  double load = 0;
  double forward = 0;
  double gram = 0;
  double solve = 0;  // factorisations, range search, solver
  double bound = 0;  // spectra for the rate-distortion bound
  double write = 0;
  double total = 0;
  std::vector<double> blocks;  // of each block, all phases; next to none where it was known
};

struct RunReport {
  std::vector<TensorReport> tensors;
  PhaseTimes seconds;
  double solve_gemm_flops = 0;
  double mean_error = 0;  // mean of the relative errors
  double mean_rtn_error = 0;
  double mean_bound = 0;
};

// Progress, after every linear: `done` of `total` linears. Called from the driver's thread.
struct Progress {
  int block;
  int blocks;
  int64_t done;
  int64_t total;
  std::string tensor;
  double mean_error;
};

// With several ranks every one of them has the hooks called, with the same.
struct DriverHooks {
  // Receives each quantised tensor: values that are exact in the plan's dense type, or what its
  // blocks decode to.
  std::function<Status(const std::string& name, const PressedTensor& tensor)> put;
  // Receives what transforms make, during the run, of tensors that are not quantised (norms, their
  // biases, routers), as the output will store it. May be empty.
  std::function<void(const std::string& name, MatrixF values)> replace = {};
  std::function<void(const Progress&)> progress;  // may be empty
  // Sees each layer problem as it was solved, before its weights give way to the result. May be
  // empty.
  std::function<void(const LayerProblem& problem, const TensorReport& report)> inspect;
  // Gets what is solved, and has what an earlier process of the same run solved, which is then not
  // solved again (nor inspected). May be null; of several ranks only rank 0 has one.
  WorkFolder* work = nullptr;
};

// What the large buffers of a run are made of; same bytes whatever that is.
struct RunMemory {
  StreamerMemory streamer;
  const Memory* weights = &main_memory();  // of the block in work; of the embeddings
};

// Presses the model block by block (ALGORITHMS.md §6): each activation is computed once per block,
// and every tap sees the quantised weights before it. `comm`: the ranks that do it together, each
// with the same model, plan and windows; null: this process does it alone. Same bytes either way.
Result<RunReport> run_plan(const Model& model, const Plan& plan, const CalibrationWindows& windows,
                           const DriverHooks& hooks, ThreadPool& pool, const RunMemory& memory = {},
                           Comm* comm = nullptr);
// The same with the taps' Grams from elsewhere: no window runs through the model, so that no tap
// sees the errors before it.
Result<RunReport> run_plan(const Model& model, const Plan& plan, GramSource& grams,
                           const DriverHooks& hooks, ThreadPool& pool, const RunMemory& memory = {},
                           Comm* comm = nullptr);

}  // namespace coldpress
