#include "pipeline/manifest.h"

#include <map>

namespace coldpress {
namespace {

// Bits per weight on the grid and beside it, as it came out.
double effective_bits(const PlannedTensor& planned, const TensorReport& t) {
  return planned.grid_bits_per_weight + t.side_bits_per_weight;
}

Json tensor_json(const PlannedTensor& planned, const TensorReport* t) {
  Json row = {{"name", planned.name},
              {"action", planned.action == TensorAction::kQuantise ? "quantised" : "copied"},
              {"shape", planned.shape},
              {"source_type", planned.source_type},
              {"stored_type", planned.stored_type}};
  if (t == nullptr) {
    row["reason"] = planned.reason;
    return row;
  }
  row["block"] = t->block;
  row["role"] = t->role;
  row["tap"] = t->tap;
  row["bits_per_weight"] = effective_bits(planned, *t);
  if (t->side_bits_per_weight > 0) row["outlier_bits_per_weight"] = t->side_bits_per_weight;
  row["error"] = t->error;
  row["rtn_error"] = t->rtn_error;
  row["bound"] = t->bound;
  row["calibration_tokens"] = t->calibration_tokens;
  row["damping"] = t->outcome.damping;
  row["iterations"] = t->outcome.iterations;
  row["rows_from_rtn"] = t->outcome.rows_from_rtn;
  if (!t->outcome.fallback.empty()) row["fallback"] = t->outcome.fallback;
  return row;
}

}  // namespace

Json make_manifest(const Model& model, const Plan& plan, const CalibrationWindows& windows,
                   const RunReport& report, const RunEnvironment& environment) {
  std::map<std::string, const TensorReport*> reports;
  int64_t fallbacks = 0;
  for (const TensorReport& t : report.tensors) {
    reports[t.name] = &t;
    fallbacks += t.outcome.fallback.empty() ? 0 : 1;
  }
  Json tensors = Json::array();
  double stored_bits = 0;
  double weights = 0;
  for (const PlannedTensor& planned : plan.tensors) {
    const auto found = reports.find(planned.name);
    tensors.push_back(tensor_json(planned, found == reports.end() ? nullptr : found->second));
    if (found == reports.end()) continue;
    const TensorReport& t = *found->second;
    const double size = static_cast<double>(t.rows) * static_cast<double>(t.cols);
    stored_bits += effective_bits(planned, t) * size;
    weights += size;
  }
  const PhaseTimes& s = report.seconds;
  Json manifest = {
      {"format", "coldpress-manifest-1"},
      {"coldpress", environment.version},
      {"source",
       {{"path", model.path().string()},
        {"architecture", model.config().architecture},
        {"container", model.is_gguf() ? "gguf" : "huggingface"},
        {"already_quantised", model.source_is_quantised()}}},
      {"recipe", recipe_to_json(plan.recipe)},
      {"calibration", calibration_to_json(windows)},
      {"result",
       {{"bits_per_weight", weights > 0 ? stored_bits / weights : plan.bits_per_weight},
        {"quantised_weights", plan.quantised_weights},
        {"mean_error", report.mean_error},
        {"mean_rtn_error", report.mean_rtn_error},
        {"mean_bound", report.mean_bound},
        {"multiple_of_bound", report.mean_bound > 0 ? report.mean_error / report.mean_bound : 0.0},
        {"fallbacks", fallbacks}}},
      {"seconds",
       {{"load", s.load},
        {"forward", s.forward},
        {"gram", s.gram},
        {"solve", s.solve},
        {"bound", s.bound},
        {"write", s.write},
        {"pipeline", s.total},
        {"command", environment.wall_seconds}}},
      {"flops",
       {{"forward", plan.forward_flops},
        {"gram", plan.gram_flops},
        {"solve_gemm", report.solve_gemm_flops}}},
      {"threads", environment.threads},
      {"peak_rss_bytes", environment.peak_rss_bytes},
      {"predicted_peak_bytes", plan.predicted_peak_bytes},
      {"tensors", std::move(tensors)},
      {"dropped", Json::array()},
  };
  return manifest;
}

Json reproducible_part(Json manifest) {
  for (const char* key : {"seconds", "threads", "peak_rss_bytes", "predicted_peak_bytes"}) {
    manifest.erase(key);
  }
  manifest["source"].erase("path");
  return manifest;
}

}  // namespace coldpress
