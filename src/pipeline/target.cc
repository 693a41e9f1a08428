#include "pipeline/target.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "export/gguf_mix.h"

namespace coldpress {
namespace {

// A linear as one device holds it.
struct Shard {
  std::string name;
  int64_t rows = 0;  // of all linears that the runtime fuses with it
  int64_t cols = 0;
  bool is_expert = false;
};

// vLLM's kernels for integer weights come in these groups; 0 is a whole row.
constexpr int64_t kVllmGroups[] = {128, 64, 32};
// Its fast kernel's tiles, and what its slower one needs of fp16 weights.
constexpr int64_t kTileRows = 64;
constexpr int64_t kTileCols = 128;
constexpr int64_t kPlainRows = 32;
constexpr int64_t kPlainCols = 32;

bool is_one_of(std::string_view role, std::initializer_list<std::string_view> roles) {
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

// Linears that read the attention's or the feed-forward's own activations: their inputs are cut
// over the devices, those of all others are whole and their outputs are cut.
bool cuts_inputs(const PlannedTensor& t) { return t.tap == "attn_out" || t.tap == "ffn_mid"; }

bool is_expert(const PlannedTensor& t) { return t.role.ends_with("_exps"); }

// Linears of the same block and name become one matrix; empty: this one stays alone.
std::string fused_with(const PlannedTensor& t) {
  if (is_one_of(t.role, {"attn_q", "attn_k", "attn_v"})) return "q, k and v";
  if (is_one_of(t.role, {"ffn_gate", "ffn_up"})) return "gate and up";
  return is_expert(t) ? "experts" : "";
}

// What llama.cpp calls about so many bits.
const char* mix_of(int bits) {
  constexpr const char* kMixes[] = {"Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "Q8_0"};
  return kMixes[std::clamp(bits, 2, 8) - 2];
}

class VllmCheck {
 public:
  VllmCheck(const Model& model, const Plan& plan, int64_t devices)
      : model_(model), plan_(plan), devices_(devices) {}

  Status run() const {
    COLDPRESS_RETURN_IF_ERROR(check_devices());
    if (plan_.recipe.code_format.empty()) return {};
    COLDPRESS_RETURN_IF_ERROR(check_scheme());
    COLDPRESS_RETURN_IF_ERROR(check_siblings());
    COLDPRESS_RETURN_IF_ERROR(check_groups());
    return check_tiles();
  }

 private:
  const GridOptions& grid() const { return plan_.recipe.grid; }

  // The largest number of devices up to the wanted one that every layer can be cut for.
  bool can_cut(int64_t devices) const {
    const ModelConfig& c = model_.config();
    const bool heads =
        c.heads % devices == 0 && (c.kv_heads % devices == 0 || devices % c.kv_heads == 0);
    return heads && c.ffn % devices == 0;
  }

  Status check_devices() const {
    if (can_cut(devices_)) return {};
    int64_t fewer = devices_ - 1;
    while (fewer > 1 && !can_cut(fewer)) --fewer;
    const ModelConfig& c = model_.config();
    return invalid_argument(fmt::format(
        "vllm cannot cut {} heads ({} of keys) and {} feed-forward columns over {} devices; use "
        "--tp {}",
        c.heads, c.kv_heads, c.ffn, devices_, fewer));
  }

  Status check_scheme() const {
    if (is_w8a8()) return check_w8a8();
    const bool is_v2 = plan_.recipe.code_format == "gptq-v2";
    const int bits = grid().bits;
    if (bits != 4 && bits != 8) {
      return invalid_argument(fmt::format(
          "vllm has kernels for 4 and 8 bits, not for {}; use --bits {}, or --target transformers",
          bits, bits < 4 ? 4 : 8));
    }
    if (is_v2) {
      return invalid_argument(
          fmt::format("vllm loads version 1 of GPTQ's format only; use {}",
                      grid().symmetric ? "--format gptq" : "--format compressed-tensors"));
    }
    if (!grid().symmetric && bits != 4) {
      return invalid_argument(
          "vllm has kernels for zero points at 4 bits only; use --symmetric, or --bits 4");
    }
    if (!grid().symmetric && model_.config().experts > 0) {
      return invalid_argument("vllm loads experts without zero points only; use --symmetric");
    }
    return {};
  }

  bool is_w8a8() const { return plan_.recipe.code_format == "int-quantized"; }

  Status check_w8a8() const {
    if (grid().bits == 8 && grid().group == 0) return {};
    return invalid_argument(
        "vllm multiplies int-quantized weights of 8 bits with one scale per row; use --bits 8 "
        "--group channel, or --format compressed-tensors");
  }

  // What the runtime fuses must share bits, groups and symmetry, or all stay dense.
  Status check_siblings() const {
    std::map<std::string, const PlannedTensor*> first;
    for (const PlannedTensor& t : plan_.tensors) {
      const std::string fused = fused_with(t);
      if (fused.empty()) continue;
      const PlannedTensor& other =
          *first.emplace(fmt::format("{} {}", t.block, fused), &t).first->second;
      const bool same = t.grid.bits == other.grid.bits && t.grid.group == other.grid.group &&
                        t.grid.symmetric == other.grid.symmetric;
      if (same) continue;
      return invalid_argument(fmt::format(
          "vllm fuses {} into one matrix, but {} and {} would be stored differently; give them one "
          "grid",
          fused, other.name, t.name));
    }
    return {};
  }

  // Rows of one device's part; keys and values are repeated where there are more devices than them.
  int64_t rows_of(const PlannedTensor& t, int64_t devices) const {
    const ModelConfig& c = model_.config();
    if (cuts_inputs(t)) return t.shape[0];
    const bool is_repeated = is_one_of(t.role, {"attn_k", "attn_v"}) && devices > c.kv_heads;
    return t.shape[0] / (is_repeated ? c.kv_heads : devices);
  }

  std::vector<Shard> shards(int64_t devices) const {
    std::map<std::string, int64_t> fused_rows;
    const auto key = [](const PlannedTensor& t) {
      const std::string fused = is_expert(t) ? "" : fused_with(t);
      return fused.empty() ? t.name : fmt::format("{} {}", t.block, fused);
    };
    for (const PlannedTensor& t : plan_.tensors) {
      if (t.action == TensorAction::kQuantise) fused_rows[key(t)] += rows_of(t, devices);
    }
    std::vector<Shard> out;
    for (const PlannedTensor& t : plan_.tensors) {
      if (t.action != TensorAction::kQuantise) continue;
      out.push_back({t.name, fused_rows.at(key(t)), t.shape[1] / (cuts_inputs(t) ? devices : 1),
                     is_expert(t)});
    }
    return out;
  }

  bool group_fits(int64_t group) const {
    const auto all = shards(devices_);
    return group == 0 ||
           std::all_of(all.begin(), all.end(), [&](const Shard& s) { return s.cols % group == 0; });
  }

  Status check_groups() const {
    const int64_t group = grid().group;
    const bool known = group == 0 || std::find(std::begin(kVllmGroups), std::end(kVllmGroups),
                                               group) != std::end(kVllmGroups);
    if (known && group_fits(group)) return {};
    std::string instead = "channel";
    for (const int64_t other : kVllmGroups) {
      if ((other < group || !known) && group_fits(other)) {
        instead = fmt::format("{}", other);
        break;
      }
    }
    if (!known) {
      return invalid_argument(
          fmt::format("vllm has kernels for groups of 32, 64, 128 and whole rows, not for {}; use "
                      "--group {}",
                      group, instead));
    }
    for (const Shard& s : shards(devices_)) {
      if (s.cols % group == 0) continue;
      return invalid_argument(fmt::format(
          "{} has {} columns on each of {} devices, no multiple of --group {}; use --group {}",
          s.name, s.cols, devices_, group, instead));
    }
    return {};
  }

  // The first linear that no kernel of the runtime takes.
  std::optional<Shard> unfit(int64_t devices, DType type) const {
    for (const Shard& s : shards(devices)) {
      if (s.is_expert) continue;  // their kernels take any size that groups divide
      const bool fast = s.rows % kTileRows == 0 && s.cols % kTileCols == 0;
      const bool plain = type == DType::kF16 && grid().symmetric && s.rows % kPlainRows == 0 &&
                         s.cols % kPlainCols == 0;
      if (!fast && !plain) return s;
    }
    return std::nullopt;
  }

  Status check_tiles() const {
    if (is_w8a8()) return {};
    const DType type = plan_.recipe.dense_type;
    const std::optional<Shard> bad = unfit(devices_, type);
    if (!bad) return {};
    std::string instead = "--format dense";
    if (!unfit(devices_, DType::kF16)) {
      instead = "--dense-type f16, for which it has a slower kernel";
    } else if (!grid().symmetric && bad->rows % kPlainRows == 0 && bad->cols % kPlainCols == 0) {
      instead = "--symmetric --dense-type f16, for which it has a slower kernel";
    } else {
      for (int64_t fewer = devices_ - 1; fewer >= 1; --fewer) {
        if (!can_cut(fewer) || unfit(fewer, type)) continue;
        instead = fmt::format("--tp {}", fewer);
        break;
      }
    }
    return invalid_argument(fmt::format(
        "vllm has no kernel for {} as {} x {} on each of {} devices (multiples of {} x {}); use {}",
        bad->name, bad->rows, bad->cols, devices_, kTileRows, kTileCols, instead));
  }

  const Model& model_;
  const Plan& plan_;
  int64_t devices_;
};

Status check_transformers(const Model& model, const Plan& plan, int64_t devices) {
  if (plan.recipe.code_format.empty()) return {};
  if (devices > 1) {
    return invalid_argument(
        "transformers does not cut quantised layers over devices; use --tp 1, or --target vllm");
  }
  if (model.config().inside_larger && plan.recipe.code_format.starts_with("gptq")) {
    return invalid_argument(
        "transformers takes every linear of a model with an image encoder as GPTQ's; use --format "
        "compressed-tensors");
  }
  const bool packed = plan.recipe.code_format == "compressed-tensors";
  if (packed && !plan.recipe.grid.symmetric) {
    return invalid_argument(
        "transformers reads the zero points of compressed-tensors only when it is told to "
        "dequantise "
        "everything; use --symmetric, or --format gptq-v2");
  }
  if (model.config().experts > 0 && !packed) {
    return invalid_argument(fmt::format(
        "transformers loads experts as codes from --format compressed-tensors only, not "
        "from {}; use that, with --symmetric",
        plan.recipe.code_format));
  }
  return {};
}

Status check_llama_cpp(const Model& model, const Plan& plan, int64_t devices) {
  if (!plan.recipe.code_format.empty()) {
    return invalid_argument(
        fmt::format("llama.cpp reads GGUF files, not --format {}; use --type {}, and NAME.gguf as "
                    "the output",
                    plan.recipe.code_format, mix_of(plan.recipe.grid.bits)));
  }
  if (devices > 1) {
    return invalid_argument(
        "llama.cpp places layers on devices when it loads a file; leave --tp out");
  }
  if (!model.is_gguf()) return unquantised_gguf_layout(model).status();
  return {};
}

// Refuses what would have to run along with the model and does not in `loader`. Loaders of
// int-quantized round activations to 8 bits by themselves.
Status check_online(const Model& model, const Plan& plan, const std::string& loader) {
  OnlineParts online = model.config().online;
  const bool rounds = plan.recipe.code_format == "int-quantized";
  if (rounds && online.activations == LowBits{8, true, 1.0F, 0}) online.activations = {};
  if (online.empty()) return {};
  return invalid_argument(fmt::format(
      "{} runs neither rotations r3 and r4 nor this rounding of activations, keys and values{}; "
      "leave them out, or --target",
      loader, rounds ? "" : " (to 8 bits of activations with --format int-quantized alone)"));
}

}  // namespace

Status check_target(const Model& model, const Plan& plan, const Target& target,
                    const std::string& out) {
  if (target.loader.empty()) {
    if (target.tensor_parallel == 1) return {};
    return invalid_argument("--tp says how a target cuts the model; it needs --target");
  }
  const bool to_gguf = out.ends_with(".gguf");
  const bool wants_gguf = target.loader == "llama.cpp";
  if (!out.empty() && to_gguf != wants_gguf) {
    return invalid_argument(fmt::format("{}: {} loads {}; give {} as the output", out,
                                        target.loader,
                                        wants_gguf ? "GGUF files" : "Hugging Face folders",
                                        wants_gguf ? "NAME.gguf" : "a folder's name"));
  }
  if (!wants_gguf && !plan.recipe.types.mix.empty()) {
    return invalid_argument(fmt::format(
        "{} loads Hugging Face folders; use --bits 4 --format compressed-tensors instead of --type",
        target.loader));
  }
  COLDPRESS_RETURN_IF_ERROR(check_online(model, plan, target.loader));
  if (target.loader == "vllm") return VllmCheck(model, plan, target.tensor_parallel).run();
  if (target.loader == "transformers") {
    return check_transformers(model, plan, target.tensor_parallel);
  }
  if (wants_gguf) return check_llama_cpp(model, plan, target.tensor_parallel);
  return invalid_argument(
      fmt::format("unknown target '{}'; known: vllm, transformers, llama.cpp", target.loader));
}

}  // namespace coldpress
