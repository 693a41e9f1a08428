#include <fmt/format.h>

#include <algorithm>

#include "bench.h"
#include "io/safetensors.h"

namespace coldpress::cli {
namespace {

Result<MatrixF> read_matrix(const SafetensorsInfo& info) {
  if (info.shape.size() != 2 || !dtype_is_float(info.dtype)) {
    return invalid_argument(fmt::format("tensor {} is not a floating-point matrix", info.name));
  }
  MatrixF m(info.shape[0], info.shape[1]);
  decode_to_f32(info.dtype, info.data, {m.data(), static_cast<std::size_t>(m.size())});
  return m;
}

}  // namespace

Result<std::vector<BenchProblem>> read_bench_problems(const std::string& path) {
  COLDPRESS_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::open(path));
  std::vector<BenchProblem> problems;
  for (const SafetensorsInfo& info : file.content().tensors) {
    if (!info.name.ends_with(".W")) continue;
    const std::string name = info.name.substr(0, info.name.size() - 2);
    const SafetensorsInfo* gram = file.find(name + ".H");
    if (gram == nullptr) {
      return invalid_argument(fmt::format("{}: {}.W has no {}.H beside it", path, name, name));
    }
    COLDPRESS_ASSIGN_OR_RETURN(MatrixF w, read_matrix(info));
    COLDPRESS_ASSIGN_OR_RETURN(const MatrixF h, read_matrix(*gram));
    COLDPRESS_ASSIGN_OR_RETURN(TapHessian hessian, TapHessian::create(name, h.view()));
    if (hessian.n() != w.cols()) {
      return invalid_argument(fmt::format("{}: {}.W has {} columns but {}.H is {} wide", path, name,
                                          w.cols(), name, hessian.n()));
    }
    problems.push_back({name, std::move(w), std::move(hessian)});
  }
  if (problems.empty()) {
    return invalid_argument(path + " holds no layer problems (pairs of tensors NAME.W and NAME.H)");
  }
  std::sort(problems.begin(), problems.end(),
            [](const BenchProblem& a, const BenchProblem& b) { return a.name < b.name; });
  return problems;
}

}  // namespace coldpress::cli
