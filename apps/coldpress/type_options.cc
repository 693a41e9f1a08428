#include "type_options.h"

#include <fmt/format.h>

#include <cstdint>
#include <utility>

#include "io/ggml_codec.h"
#include "io/json.h"
#include "terminal.h"

namespace coldpress::cli {
namespace {

std::string type_name(int32_t type) { return ggml_type_info(type)->name; }

double weights_of(const std::vector<int64_t>& shape) {
  double count = 1;
  for (const int64_t extent : shape) count *= static_cast<double>(extent);
  return count;
}

// A usage error with the reason's own words.
[[noreturn]] void refuse(const char* option, const Status& status) {
  throw CLI::ValidationError(option, status.message());
}

int32_t type_of(const char* option, const std::string& text) {
  const Result<int32_t> type = parse_tensor_type(text, option);
  if (!type.ok()) refuse(option, type.status());
  return *type;
}

struct Sums {
  uint64_t bytes = 0;
  double weights = 0;
  int64_t quantised = 0;
  double bits_per_weight() const {
    return weights > 0 ? 8 * static_cast<double>(bytes) / weights : 0;
  }
};

Sums sums_of(const std::vector<TensorTypeChoice>& choices) {
  Sums sums;
  for (const TensorTypeChoice& c : choices) {
    sums.bytes += c.bytes;
    sums.weights += weights_of(c.shape);
    sums.quantised += c.is_quantised ? 1 : 0;
  }
  return sums;
}

}  // namespace

void add_type_options(CLI::App& verb, TypeOptions& options) {
  MixOptions& mix = options.mix;
  CLI::Option* type = verb.add_option_function<std::string>(
                              "--type",
                              [&mix](const std::string& text) {
                                const Result<Mix> found = find_mix(text);
                                if (!found.ok()) refuse("--type", found.status());
                                mix.mix = found->name;
                              },
                              "GGUF types of llama.cpp's mix: Q4_0, Q4_K_M, IQ3_XS, ...")
                          ->type_name("MIX");
  const auto with_type = [type](CLI::Option* option) { option->needs(type); };
  with_type(verb.add_flag("--pure", mix.pure, "The mix's own type for every matrix"));
  with_type(verb.add_option_function<std::vector<std::string>>(
                    "--tensor-type",
                    [&mix](const std::vector<std::string>& rules) {
                      for (const std::string& text : rules) {
                        Result<TensorTypeRule> rule = parse_tensor_type_rule(text);
                        if (!rule.ok()) refuse("--tensor-type", rule.status());
                        mix.overrides.push_back(std::move(rule).value());
                      }
                    },
                    "Type of the tensors whose GGUF name matches; the first that matches counts")
                ->type_name("REGEX=TYPE")
                ->allow_extra_args(false));
  with_type(verb.add_option_function<std::string>(
                    "--output-tensor-type",
                    [&mix](const std::string& text) {
                      mix.output_type = type_of("--output-tensor-type", text);
                    },
                    "Type of the output matrix, or of embeddings that serve as one")
                ->type_name("TYPE"));
  with_type(verb.add_option_function<std::string>(
                    "--token-embedding-type",
                    [&mix](const std::string& text) {
                      mix.token_embd_type = type_of("--token-embedding-type", text);
                    },
                    "Type of the token embeddings")
                ->type_name("TYPE"));
  with_type(verb.add_flag("--allow-fallback", mix.allow_fallback,
                          "Larger types, as llama.cpp does, for rows that are no whole blocks"));
  CLI::Option* bits = verb.get_option("--bits");
  bits->excludes(type);
}

void print_types(const std::string& mix, const std::vector<TensorTypeChoice>& choices) {
  std::vector<std::vector<std::string>> table = {
      {"tensor", "shape", "from", "type", "bytes", "bits", "note"}};
  for (const TensorTypeChoice& c : choices) {
    std::string note = c.is_quantised ? "" : "kept";
    if (c.instead_of) note = "instead of " + type_name(*c.instead_of);
    table.push_back({c.name, shape_text(c.shape), type_name(c.source_type), type_name(c.ggml_type),
                     fmt::format("{}", c.bytes),
                     fmt::format("{:.4f}", 8 * static_cast<double>(c.bytes) / weights_of(c.shape)),
                     note});
  }
  const Sums sums = sums_of(choices);
  fmt::print("{}\n", text_table(table));
  fmt::print("{}: {} of {} tensors quantised, {} bytes, {:.4f} bits per weight\n", mix,
             sums.quantised, choices.size(), sums.bytes, sums.bits_per_weight());
}

Json types_to_json(const std::string& mix, const std::vector<TensorTypeChoice>& choices) {
  Json tensors = Json::array();
  for (const TensorTypeChoice& c : choices) {
    Json row = {{"name", c.name},
                {"shape", c.shape},
                {"source_type", type_name(c.source_type)},
                {"type", type_name(c.ggml_type)},
                {"quantised", c.is_quantised},
                {"bytes", c.bytes},
                {"bits_per_weight", 8 * static_cast<double>(c.bytes) / weights_of(c.shape)}};
    if (c.instead_of) row["instead_of"] = type_name(*c.instead_of);
    tensors.push_back(std::move(row));
  }
  const Sums sums = sums_of(choices);
  return {{"type", mix},
          {"bytes", sums.bytes},
          {"bits_per_weight", sums.bits_per_weight()},
          {"tensors", std::move(tensors)}};
}

}  // namespace coldpress::cli
