#include "pipeline/conversion_manifest.h"

#include <map>
#include <string>

#include "io/json.h"

namespace coldpress {

Json make_conversion_manifest(const Model& model, DType dense_type, bool all_dense,
                              const RunEnvironment& environment) {
  Json tensors = Json::array();
  for (const SourceTensor& t : model.tensors()) {
    tensors.push_back({{"name", t.name},
                       {"action", "copied"},
                       {"shape", t.shape},
                       {"source_type", t.type},
                       {"stored_type", t.type}});
  }
  return {{"format", "coldpress-manifest-1"},
          {"coldpress", environment.version},
          {"source", source_to_json(model)},
          {"recipe",
           {{"method", "convert"},
            {"dense_type", std::string(dtype_name(dense_type))},
            {"all_dense", all_dense}}},
          {"seconds", {{"command", environment.wall_seconds}}},
          {"threads", environment.threads},
          {"peak_rss_bytes", environment.peak_rss_bytes},
          {"tensors", std::move(tensors)},
          {"dropped", Json::array()}};
}

DType natural_dense_type(const Model& model) {
  std::map<DType, int64_t> elements = {{DType::kF16, 0}};
  for (const SourceTensor& t : model.tensors()) {
    if (t.shape.size() != 2) continue;
    DType type = DType::kF16;
    if (t.type == "BF16" || t.type == "bf16") type = DType::kBF16;
    if (t.type == "F32" || t.type == "f32") type = DType::kF32;
    elements[type] += t.shape[0] * t.shape[1];
  }
  DType most = DType::kF16;
  for (const auto& [type, count] : elements) {
    if (count > elements[most]) most = type;
  }
  return most;
}

}  // namespace coldpress
