// The five layer problems captured from a model (ALGORITHMS.md §2).
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/safetensors.h"
#include "solver/tap_hessian.h"

namespace coldpress::testing {

struct CapturedProblem {
  std::string name;
  MatrixF w;
  TapHessian hessian;
};

inline std::string captured_path() {
  return std::string(COLDPRESS_SHARED_DATA) + "/layer-problems.safetensors";
}

// Empty where the file is absent.
inline std::vector<CapturedProblem> captured_problems() {
  std::vector<CapturedProblem> problems;
  if (!std::filesystem::exists(captured_path())) return problems;
  const SafetensorsFile file = SafetensorsFile::open(captured_path()).value();
  const auto read = [](const SafetensorsInfo& t) {
    MatrixF m(t.shape[0], t.shape[1]);
    decode_to_f32(t.dtype, t.data, {m.data(), static_cast<std::size_t>(m.size())});
    return m;
  };
  for (const SafetensorsInfo& info : file.content().tensors) {
    if (!info.name.ends_with(".W")) continue;
    std::string name = info.name.substr(0, info.name.size() - 2);
    const MatrixF h = read(*file.find(name + ".H"));
    TapHessian hessian = TapHessian::create(name, h.view()).value();
    problems.push_back({std::move(name), read(info), std::move(hessian)});
  }
  return problems;
}

}  // namespace coldpress::testing
