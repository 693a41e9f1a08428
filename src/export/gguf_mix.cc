#include "export/gguf_mix.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <regex>
#include <utility>

#include "base/checked.h"
#include "export/gguf_mix_rules.h"
#include "export/layout.h"
#include "io/ggml_codec.h"

namespace coldpress {
namespace {

using mix::Part;

bool same_letters(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

int32_t type_named(std::string_view name) {
  const auto type = ggml_type_from_name(name);
  COLDPRESS_CHECK(type.has_value());  // the tables' own names
  return *type;
}

Mix mix_of(const mix::Row& row) {
  const int32_t type = type_named(row.type);
  return {row.name, row.file_type, type, ggml_type_info(type)->is_quantised};
}

Result<const mix::Row*> find_row(std::string_view name) {
  std::string known;
  for (const mix::Row& row : mix::rows()) {
    if (same_letters(name, row.name) || (!row.alias.empty() && same_letters(name, row.alias))) {
      return &row;
    }
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  return invalid_argument(fmt::format("unknown type \"{}\" (known: {})", name, known));
}

bool has(std::string_view name, std::string_view part) {
  return name.find(part) != std::string_view::npos;
}

// Matrices that stay as they are in every mix: gains that happen to be matrices, tables of
// positions, routers, and small ones whose precision matters more than their size.
bool keeps_its_type(const MixTensor& tensor) {
  constexpr auto kKept = std::to_array<std::string_view>(
      {"_norm.weight", "ffn_gate_inp.weight", "altup", "laurel", "per_layer_model_proj",
       "ssm_conv1d", "shortconv.conv.weight", "attn_rel_b.weight", ".position_embd"});
  // A dimension of 1 at the outside is none to GGUF's readers.
  const auto is_row = [](const std::vector<int64_t>& shape) {
    return std::all_of(shape.begin(), shape.end() - 1, [](int64_t extent) { return extent == 1; });
  };
  const std::string_view name = tensor.name;
  if (tensor.shape.empty() || is_row(tensor.shape)) return true;
  if (!name.ends_with("weight")) return true;
  if (name == "position_embd.weight" || name == "token_types.weight") return true;
  return std::any_of(kKept.begin(), kKept.end(),
                     [&](std::string_view part) { return has(name, part); });
}

bool is_embedding(std::string_view name) {
  return name == "token_embd.weight" || name == "per_layer_token_embd.weight";
}

Part part_of(std::string_view name, bool tied) {
  struct Word {
    std::string_view word;
    Part part;
  };
  constexpr auto kWords = std::to_array<Word>({{"attn_qkv.weight", Part::kValue},
                                               {"attn_kv_b.weight", Part::kValue},
                                               {"attn_v.weight", Part::kValue},
                                               {"attn_k.weight", Part::kKey},
                                               {"attn_q.weight", Part::kQuery},
                                               {"attn_output.weight", Part::kAttentionOutput},
                                               {"ffn_up", Part::kUp},
                                               {"ffn_gate", Part::kGate},
                                               {"ffn_down", Part::kDown}});
  if (name == "output.weight") return Part::kHead;
  if (is_embedding(name)) return tied ? Part::kHead : Part::kEmbedding;
  for (const Word& w : kWords) {
    if (has(name, w.word)) return w.part;
  }
  return Part::kOther;
}

// N of "blk.N."; -1 outside the blocks.
int64_t block_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  int64_t block = -1;
  if (name.starts_with(kPrefix)) {
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), block);
  }
  return block;
}

std::optional<uint64_t> bytes_as(const MixTensor& tensor, int32_t type) {
  std::optional<uint64_t> bytes = ggml_row_bytes(type, tensor.shape.back());
  for (std::size_t d = 0; d + 1 < tensor.shape.size() && bytes.has_value(); ++d) {
    bytes = checked_mul(*bytes, static_cast<uint64_t>(tensor.shape[d]));
  }
  return bytes;
}

bool fits(const MixTensor& tensor, int32_t type) {
  return tensor.shape.back() % ggml_type_info(type)->block_elements == 0;
}

// What the tensor would take in a type that its rows do not divide into.
double ideal_bytes(const MixTensor& tensor, int32_t type) {
  const GgmlTypeInfo info = *ggml_type_info(type);
  double weights = 1;
  for (const int64_t extent : tensor.shape) weights *= static_cast<double>(extent);
  return weights * static_cast<double>(info.block_bytes) / static_cast<double>(info.block_elements);
}

// llama.cpp counts the tensors of a part in this order: outside the blocks first, then block by
// block, by name.
std::vector<std::size_t> llama_order(const std::vector<MixTensor>& tensors) {
  std::vector<std::size_t> order(tensors.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const std::string& x = tensors[a].name;
    const std::string& y = tensors[b].name;
    return std::pair(block_of(x), std::string_view(x)) <
           std::pair(block_of(y), std::string_view(y));
  });
  return order;
}

class Chooser {
 public:
  Chooser(const MixModel& model, const std::vector<MixTensor>& tensors, const MixOptions& options,
          const mix::Row& row)
      : model_(model), tensors_(tensors), options_(options), row_(row), mix_(mix_of(row)) {
    tied_ = std::none_of(tensors.begin(), tensors.end(),
                         [](const MixTensor& t) { return t.name == "output.weight"; });
    for (const MixTensor& t : tensors) {
      const Part part = part_of(t.name, tied_);
      values_ += part == Part::kValue ? 1 : 0;
    }
  }

  Status compile_rules() {
    for (const TensorTypeRule& rule : options_.overrides) {
      try {
        patterns_.emplace_back(rule.pattern, std::regex::ECMAScript | std::regex::icase);
      } catch (const std::regex_error& error) {
        return invalid_argument(
            fmt::format("\"{}\" is not a regular expression ({})", rule.pattern, error.what()));
      }
    }
    return {};
  }

  Result<std::vector<TensorTypeChoice>> run() {
    std::vector<TensorTypeChoice> choices(tensors_.size());
    for (const std::size_t i : llama_order(tensors_)) choices[i] = choose(tensors_[i]);
    COLDPRESS_RETURN_IF_ERROR(check(choices));
    return choices;
  }

 private:
  struct Misfit {
    std::string what;  // "blk.0.attn_q.weight (576 columns, q4_K needs a multiple of 256)"
    std::optional<double> cost;  // of the stand-in; none: there is no stand-in
  };

  std::optional<int32_t> rule_for(const std::string& name) const {
    for (std::size_t i = 0; i < patterns_.size(); ++i) {
      if (std::regex_search(name, patterns_[i])) return options_.overrides[i].ggml_type;
    }
    return std::nullopt;
  }

  TensorTypeChoice choose(const MixTensor& tensor) {
    TensorTypeChoice choice{
        tensor.name, tensor.shape, tensor.ggml_type, tensor.ggml_type, false, std::nullopt, 0};
    if (!keeps_its_type(tensor)) {
      choice.is_quantised = true;
      bool is_final = false;  // llama.cpp takes these without looking at the shape
      choice.ggml_type = wanted(tensor, is_final);
      if (!fits(tensor, choice.ggml_type)) replace(tensor, is_final, choice);
    }
    choice.bytes = bytes_as(tensor, choice.ggml_type).value_or(0);
    return choice;
  }

  int32_t wanted(const MixTensor& tensor, bool& is_final) {
    is_final = true;
    const std::string& name = tensor.name;
    const bool is_named = name == "per_layer_token_embd.weight" && rule_for(name).has_value();
    if (options_.token_embd_type && is_embedding(name) && !is_named) {
      return *options_.token_embd_type;
    }
    if (options_.output_type && name == "output.weight") return *options_.output_type;
    is_final = false;
    if (!mix_.is_quantised) return mix_.ggml_type;
    if (const auto type = rule_for(name)) return *type;
    if (options_.pure) return mix_.ggml_type;
    return by_mix(tensor);
  }

  // Counts the tensor among those of its part.
  int32_t by_mix(const MixTensor& tensor) {
    const Part part = part_of(tensor.name, tied_);
    mix::Place place;
    place.turn = turns_[static_cast<std::size_t>(part)]++;
    place.turns = part == Part::kValue ? values_ : model_.blocks;
    place.layer = model_.experts > 1 ? block_of(tensor.name) : place.turn;
    place.gqa = model_.kv_heads > 0 ? model_.heads / model_.kv_heads : 0;
    place.experts = model_.experts;
    place.is_stack = tensor.shape.size() > 2 && tensor.shape[tensor.shape.size() - 3] > 1;
    place.is_falcon = model_.architecture == "falcon";
    place.is_70b = model_.blocks == 80 &&
                   ((model_.architecture == "llama" && model_.heads != model_.kv_heads) ||
                    model_.architecture == "qwen2");
    place.has_imatrix = options_.has_imatrix;
    place.fits_own_type = fits(tensor, mix_.ggml_type);
    place.own_type = row_.type;
    if (part == Part::kHead && options_.output_type) return *options_.output_type;
    const auto type = mix::type_of(row_.id, part, place);
    return type ? type_named(*type) : mix_.ggml_type;
  }

  void replace(const MixTensor& tensor, bool is_final, TensorTypeChoice& choice) {
    const int32_t wanted = choice.ggml_type;
    const GgmlTypeInfo info = *ggml_type_info(wanted);
    Misfit misfit{fmt::format("{} ({} columns; {} needs a multiple of {})", tensor.name,
                              tensor.shape.back(), info.name, info.block_elements),
                  std::nullopt};
    const auto instead = mix::stand_in(info.name);
    if (!is_final && (instead || info.block_elements <= 32)) {
      choice.instead_of = wanted;
      choice.ggml_type = instead ? type_named(*instead) : wanted;
      if (!fits(tensor, choice.ggml_type)) choice.ggml_type = kGgmlF16;
      const auto bytes = bytes_as(tensor, choice.ggml_type);
      misfit.cost = static_cast<double>(bytes.value_or(0)) - ideal_bytes(tensor, wanted);
    }
    misfits_.push_back(std::move(misfit));
  }

  // At most three of them by name.
  static std::string named(const std::vector<const Misfit*>& misfits) {
    constexpr std::size_t kNamed = 3;
    std::string text;
    for (std::size_t i = 0; i < std::min(kNamed, misfits.size()); ++i) {
      text += (i == 0 ? "" : ", ") + misfits[i]->what;
    }
    if (misfits.size() > kNamed) text += fmt::format(" and {} more", misfits.size() - kNamed);
    return text;
  }

  Status check(const std::vector<TensorTypeChoice>& choices) const {
    std::vector<const Misfit*> hopeless;
    std::vector<const Misfit*> replaced;
    double cost = 0;
    for (const Misfit& misfit : misfits_) {
      (misfit.cost ? replaced : hopeless).push_back(&misfit);
      cost += misfit.cost.value_or(0);
    }
    if (!hopeless.empty()) {
      return invalid_argument(fmt::format(
          "there is no type to fall back to for {}; choose another type", named(hopeless)));
    }
    for (const TensorTypeChoice& choice : choices) {
      if (choice.bytes > 0) continue;
      return invalid_argument(fmt::format("tensor {} has an impossible shape", choice.name));
    }
    if (replaced.empty() || options_.allow_fallback) return {};
    return invalid_argument(
        fmt::format("{} of {} tensors do not fit their type in {}: {}; --allow-fallback stores "
                    "them in larger types, for {:.0f} bytes more",
                    replaced.size(), choices.size(), mix_.name, named(replaced), cost));
  }

  const MixModel& model_;
  const std::vector<MixTensor>& tensors_;
  const MixOptions& options_;
  const mix::Row& row_;
  const Mix mix_;
  bool tied_ = false;
  int64_t values_ = 0;
  std::array<int64_t, 16> turns_{};  // by part
  std::vector<std::regex> patterns_;
  std::vector<Misfit> misfits_;
};

}  // namespace

Result<Mix> find_mix(std::string_view name) {
  COLDPRESS_ASSIGN_OR_RETURN(const mix::Row* row, find_row(name));
  return mix_of(*row);
}

std::vector<Mix> all_mixes() {
  std::vector<Mix> mixes;
  for (const mix::Row& row : mix::rows()) mixes.push_back(mix_of(row));
  return mixes;
}

Result<int32_t> parse_tensor_type(std::string_view name, std::string_view what) {
  if (const auto type = ggml_type_from_name(name)) {
    const GgmlTypeInfo info = *ggml_type_info(*type);
    // The rest is for activations inside ggml, or for integers.
    const bool is_inner = info.name.starts_with("q8_") && info.name != "q8_0";
    const bool is_float = info.name == "f32" || info.name == "f16" || info.name == "bf16";
    if (is_float || (info.is_quantised && !is_inner)) return *type;
  }
  return invalid_argument(
      fmt::format("{}: \"{}\" is not a tensor type such as q4_K, iq4_nl or f16", what, name));
}

Result<TensorTypeRule> parse_tensor_type_rule(const std::string& text) {
  const std::size_t cut = text.rfind('=');
  if (cut == std::string::npos || cut == 0) {
    return invalid_argument(
        fmt::format("--tensor-type \"{}\" is not REGEX=TYPE, such as attn_v=q6_K", text));
  }
  TensorTypeRule rule{text.substr(0, cut), 0};
  COLDPRESS_ASSIGN_OR_RETURN(rule.ggml_type,
                             parse_tensor_type(text.substr(cut + 1), "--tensor-type"));
  try {
    const std::regex compiled(rule.pattern, std::regex::ECMAScript | std::regex::icase);
  } catch (const std::regex_error& error) {
    return invalid_argument(fmt::format("--tensor-type: \"{}\" is not a regular expression ({})",
                                        rule.pattern, error.what()));
  }
  return rule;
}

Result<std::vector<TensorTypeChoice>> gguf_types(const MixModel& model,
                                                 const std::vector<MixTensor>& tensors,
                                                 const MixOptions& options) {
  COLDPRESS_ASSIGN_OR_RETURN(const mix::Row* row, find_row(options.mix));
  Chooser chooser(model, tensors, options, *row);
  if (!mix_of(*row).is_quantised && (options.pure || !options.overrides.empty())) {
    return invalid_argument(
        fmt::format("{} quantises nothing, so there are no types to choose with it", row->name));
  }
  COLDPRESS_RETURN_IF_ERROR(chooser.compile_rules());
  return chooser.run();
}

Result<Layout> unquantised_gguf_layout(const Model& model) {
  const ExportRequest request{model, {}, DType::kF16, {}, {}, {}};
  return plan_layout(request, Naming::kGguf);
}

Result<std::vector<TensorTypeChoice>> gguf_types(const Model& model, const Layout& layout,
                                                 const MixOptions& options) {
  const ModelConfig& c = model.config();
  std::vector<MixTensor> tensors;
  for (const OutputTensor& t : layout.tensors) tensors.push_back({t.name, t.shape, t.ggml_type});
  const MixModel facts{std::string(model.architecture().gguf_name), c.blocks, c.heads, c.kv_heads,
                       c.experts};
  return gguf_types(facts, tensors, options);
}

Result<std::vector<TensorTypeChoice>> gguf_types(const Model& model, const MixOptions& options) {
  COLDPRESS_ASSIGN_OR_RETURN(const Layout layout, unquantised_gguf_layout(model));
  return gguf_types(model, layout, options);
}

}  // namespace coldpress
