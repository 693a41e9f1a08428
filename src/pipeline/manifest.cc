#include "pipeline/manifest.h"

#include <map>
#include <utility>
#include <vector>

#include "io/json.h"
#include "pipeline/memory_plan.h"

namespace coldpress {
namespace {

// Bits per weight on the grid and beside it, as it came out.
double effective_bits(const PlannedTensor& planned, const TensorReport& t) {
  return planned.grid_bits_per_weight + t.side_bits_per_weight;
}

void put_result(const PlannedTensor& planned, const TensorReport& t, Json& row) {
  row["bits_per_weight"] = effective_bits(planned, t);
  if (t.side_bits_per_weight > 0) row["outlier_bits_per_weight"] = t.side_bits_per_weight;
  row["error"] = t.error;
  row["rtn_error"] = t.rtn_error;
  row["bound"] = t.bound;
  row["calibration_tokens"] = t.calibration_tokens;
  if (!t.policy.empty()) row["gram"] = t.policy;
  row["damping"] = t.outcome.damping;
  row["iterations"] = t.outcome.iterations;
  row["rows_from_rtn"] = t.outcome.rows_from_rtn;
  if (!t.outcome.fallback.empty()) row["fallback"] = t.outcome.fallback;
}

// `reports`: one, or one for each expert in the tensor; none for a tensor that was copied.
Json tensor_json(const PlannedTensor& planned, const std::vector<const TensorReport*>& reports) {
  Json row = {{"name", planned.name},
              {"action", planned.action == TensorAction::kQuantise ? "quantised" : "copied"},
              {"shape", planned.shape},
              {"source_type", planned.source_type},
              {"stored_type", planned.stored_type}};
  if (reports.empty()) {
    row["reason"] = planned.reason;
    return row;
  }
  const TensorReport& first = *reports.front();
  row["block"] = first.block;
  row["role"] = first.role;
  row["tap"] = first.tap;
  if (reports.size() == 1) {
    if (first.expert >= 0) row["expert"] = first.expert;
    put_result(planned, first, row);
    return row;
  }
  row["experts"] = Json::array();
  for (const TensorReport* t : reports) {
    Json one = {{"expert", t->expert}};
    put_result(planned, *t, one);
    row["experts"].push_back(std::move(one));
  }
  return row;
}

// How many of a run's experts had their own Gram, a share of the pooled one, or nothing else.
Json experts_json(const RunReport& report) {
  int64_t own = 0;
  int64_t shrunk = 0;
  int64_t never_routed = 0;
  for (const TensorReport& t : report.tensors) {
    if (t.expert < 0 || t.tap != "ffn_mid") continue;  // one linear stands for its expert
    if (t.calibration_tokens == 0) {
      ++never_routed;
    } else {
      ++(t.policy == "own" ? own : shrunk);
    }
  }
  return {{"own_gram", own}, {"shrunk_to_pooled", shrunk}, {"never_routed", never_routed}};
}

}  // namespace

Json source_to_json(const Model& model) {
  return {{"path", model.path().string()},
          {"architecture", model.config().architecture},
          {"container", model.is_gguf() ? "gguf" : "huggingface"},
          {"already_quantised", model.source_is_quantised()}};
}

Json make_manifest(const Model& model, const Plan& plan, const CalibrationWindows& windows,
                   const RunReport& report, const RunEnvironment& environment) {
  std::map<std::string, std::vector<const TensorReport*>> reports;
  int64_t fallbacks = 0;
  for (const TensorReport& t : report.tensors) {
    reports[t.name].push_back(&t);
    fallbacks += t.outcome.fallback.empty() ? 0 : 1;
  }
  Json tensors = Json::array();
  double stored_bits = 0;
  double weights = 0;
  for (const PlannedTensor& planned : plan.tensors) {
    const auto& results = reports[planned.name];
    tensors.push_back(tensor_json(planned, results));
    for (const TensorReport* t : results) {
      const double size = static_cast<double>(t->rows) * static_cast<double>(t->cols);
      stored_bits += effective_bits(planned, *t) * size;
      weights += size;
    }
  }
  const PhaseTimes& s = report.seconds;
  Json manifest = {
      {"format", "coldpress-manifest-1"},
      {"coldpress", environment.version},
      {"source", source_to_json(model)},
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
        {"blocks", s.blocks},
        {"command", environment.wall_seconds}}},
      {"flops",
       {{"forward", plan.forward_flops},
        {"gram", plan.gram_flops},
        {"solve_gemm", report.solve_gemm_flops}}},
      {"threads", environment.threads},
      {"peak_rss_bytes", environment.peak_rss_bytes},
      {"predicted_peak_bytes", plan.memory.peak},
      {"memory", memory_to_json(plan.memory)},
      {"tensors", std::move(tensors)},
      {"dropped", Json::array()},
  };
  if (environment.peak_anonymous_bytes > 0) {
    manifest["memory"]["peak_anonymous_bytes"] = environment.peak_anonymous_bytes;
  }
  if (model.config().experts > 0) manifest["result"]["experts"] = experts_json(report);
  return manifest;
}

Json reproducible_part(Json manifest) {
  for (const char* key : {"seconds", "threads", "ranks", "peak_rss_bytes", "predicted_peak_bytes",
                          "memory", "tensors"}) {
    manifest.erase(key);
  }
  manifest["source"].erase("path");
  return manifest;
}

}  // namespace coldpress
