// The types of every mix against those that llama.cpp's own quantiser chooses, tensor by tensor:
// for the tiny families, for SmolLM2, and for made-up models of the shapes and depths that its
// rules tell apart.
#include "export/gguf_mix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "io/ggml_codec.h"
#include "io/json.h"
#include "tests/export/round_trip.h"
#include "tests/tokenizer/synthetic_vocab.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;
using Types = std::map<std::string, std::string>;  // tensor -> ggml's name of its type

// A dry run of the function behind llama-quantize, which says every tensor's type in its log.
// Empty: it refused.
Types llama_types(const fs::path& gguf, const MixOptions& options) {
  std::string log;
  llama_log_set([](ggml_log_level, const char* text,
                   void* into) { static_cast<std::string*>(into)->append(text); },
                &log);
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = static_cast<llama_ftype>(find_mix(options.mix)->file_type);
  params.dry_run = true;
  params.pure = options.pure;
  if (options.output_type) params.output_tensor_type = static_cast<ggml_type>(*options.output_type);
  if (options.token_embd_type) {
    params.token_embedding_type = static_cast<ggml_type>(*options.token_embd_type);
  }
  std::vector<llama_model_tensor_override> overrides;
  for (const TensorTypeRule& rule : options.overrides) {
    overrides.push_back({rule.pattern.c_str(), static_cast<ggml_type>(rule.ggml_type)});
  }
  overrides.push_back({nullptr, GGML_TYPE_COUNT});
  params.tt_overrides = overrides.data();
  const float one = 1;
  const llama_model_imatrix_data imatrix[] = {{"none", &one, 1}, {nullptr, nullptr, 0}};
  if (options.has_imatrix) params.imatrix = imatrix;
  const bool done = llama_model_quantize(gguf.c_str(), "", &params) == 0;
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  Types types;
  const std::regex row(
      R"(^\[ *\d+/ *\d+\] +(\S+) +- \[.*\], type = +(\S+), size = [^(]*(\((\S+)\))?)");
  std::istringstream lines(log);
  for (std::string line; done && std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_search(line, match, row)) {
      types[match[1]] = match[4].matched ? match[4] : match[2];
    }
  }
  EXPECT_FALSE(done && types.empty()) << log;
  return types;
}

// Empty where there is no fallback, as llama.cpp refuses then.
Types ours(const Result<std::vector<TensorTypeChoice>>& choices) {
  Types types;
  if (!choices.ok()) {
    EXPECT_THAT(choices.status().message(), HasSubstr("no type to fall back to"));
    return types;
  }
  for (const TensorTypeChoice& c : *choices) types[c.name] = ggml_type_info(c.ggml_type)->name;
  return types;
}

MixOptions of_mix(std::string_view name, bool has_imatrix = true) {
  MixOptions options;
  options.mix = name;
  options.has_imatrix = has_imatrix;
  options.allow_fallback = true;
  return options;
}

int32_t type(const char* name) { return parse_tensor_type(name, "test").value(); }

// A file of zeros with the tensors of such a model.
struct MadeUp {
  std::string architecture;
  int64_t blocks = 2;
  int64_t heads = 4;
  int64_t kv_heads = 4;
  int64_t experts = 0;
  bool tied = false;
  int64_t hidden = 256;

  MixModel facts() const { return {architecture, blocks, heads, kv_heads, experts}; }
  std::vector<MixTensor> tensors() const {
    const int64_t kv = hidden / heads * kv_heads;
    std::vector<MixTensor> list = {{"token_embd.weight", {64, hidden}, kGgmlF16},
                                   {"output_norm.weight", {hidden}, kGgmlF32}};
    if (!tied) list.push_back({"output.weight", {64, hidden}, kGgmlF16});
    for (int64_t b = 0; b < blocks; ++b) {
      const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
        const int32_t of_vector = shape.size() == 1 ? kGgmlF32 : kGgmlF16;
        list.push_back({"blk." + std::to_string(b) + "." + name, std::move(shape), of_vector});
      };
      add("attn_norm.weight", {hidden});
      if (architecture == "falcon") {
        add("attn_qkv.weight", {hidden + 2 * kv, hidden});
      } else {
        add("attn_q.weight", {hidden, hidden});
        add("attn_k.weight", {kv, hidden});
        add("attn_v.weight", {kv, hidden});
      }
      add("attn_output.weight", {hidden, hidden});
      if (experts > 0) {
        add("ffn_gate_inp.weight", {experts, hidden});
        add("ffn_gate_exps.weight", {experts, 256, hidden});
        add("ffn_up_exps.weight", {experts, 256, hidden});
        add("ffn_down_exps.weight", {experts, hidden, 256});
      } else {
        if (architecture != "falcon") add("ffn_gate.weight", {256, hidden});
        add("ffn_up.weight", {256, hidden});
        add("ffn_down.weight", {hidden, 256});
      }
    }
    return list;
  }
  void write(const fs::path& path) const {
    const auto number = [](int64_t n) { return GgufValue::u32(static_cast<uint32_t>(n)); };
    const std::string a = architecture + ".";
    std::vector<std::pair<std::string, GgufValue>> metadata = {
        {"general.architecture", GgufValue::string(architecture)},
        {a + "block_count", number(blocks)},
        {a + "context_length", number(512)},
        {a + "embedding_length", number(hidden)},
        {a + "feed_forward_length", number(256)},
        {a + "attention.head_count", number(heads)},
        {a + "attention.head_count_kv", number(kv_heads)},
        {a + "attention.layer_norm_rms_epsilon", GgufValue::f32(1e-6F)},
        {a + "attention.layer_norm_epsilon", GgufValue::f32(1e-6F)},
        {a + "vocab_size", number(64)}};
    if (experts > 0) {
      metadata.emplace_back(a + "expert_count", number(experts));
      metadata.emplace_back(a + "expert_used_count", number(2));
    }
    std::vector<GgufWriter::Declaration> declared;
    for (const MixTensor& t : tensors()) declared.push_back({t.name, t.shape, t.ggml_type});
    auto writer = GgufWriter::create(path, metadata, declared);
    ASSERT_TRUE(writer.ok()) << writer.status().message();
    for (const auto& t : declared) {
      std::size_t bytes = t.ggml_type == kGgmlF32 ? 4 : 2;
      for (const int64_t extent : t.shape) bytes *= static_cast<std::size_t>(extent);
      ASSERT_TRUE(writer->write(t.name, std::vector<std::byte>(bytes)).ok());
    }
    ASSERT_TRUE(writer->finish().ok());
  }
};

void expect_same(const MadeUp& model, const fs::path& gguf, const MixOptions& options) {
  EXPECT_EQ(ours(gguf_types(model.facts(), model.tensors(), options)), llama_types(gguf, options))
      << options.mix << (options.has_imatrix ? " with imatrix" : "")
      << (options.pure ? " pure" : "");
}

class MadeUpMix : public ::testing::TestWithParam<MadeUp> {};

TEST_P(MadeUpMix, EveryMixHasLlamaCppsTypes) {
  const TempFolder folder;
  GetParam().write(folder / "m.gguf");
  for (const Mix& mix : all_mixes()) {
    for (const bool has_imatrix : {false, true}) {
      expect_same(GetParam(), folder / "m.gguf", of_mix(mix.name, has_imatrix));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, MadeUpMix,
    ::testing::Values(MadeUp{"llama", 32, 4, 4}, MadeUp{"llama", 17, 4, 1, 0, true},
                      MadeUp{"llama", 80, 4, 1}, MadeUp{"llama", 80, 4, 4},
                      MadeUp{"qwen2", 80, 4, 4}, MadeUp{"qwen3", 36, 8, 2},
                      MadeUp{"llama", 20, 4, 2, 8}, MadeUp{"llama", 12, 4, 4, 4},
                      MadeUp{"qwen3moe", 20, 4, 1, 16}, MadeUp{"falcon", 33, 4, 1},
                      MadeUp{"falcon", 16, 4, 4, 0, true}),
    [](const auto& param) {
      const MadeUp& m = param.param;
      return m.architecture + std::to_string(m.blocks) + "_" + std::to_string(m.heads) + "_" +
             std::to_string(m.kv_heads) + (m.experts > 0 ? "_x" + std::to_string(m.experts) : "") +
             (m.tied ? "_tied" : "");
    });

TEST(GgufMix, PureAndChosenTypesAreLlamaCpps) {
  const TempFolder folder;
  for (const bool tied : {false, true}) {
    const MadeUp model{"llama", 16, 4, 1, 0, tied};
    const fs::path gguf = folder / (tied ? "tied.gguf" : "untied.gguf");
    model.write(gguf);
    for (const Mix& mix : all_mixes()) {
      if (!mix.is_quantised) continue;
      MixOptions options = of_mix(mix.name);
      options.pure = true;
      expect_same(model, gguf, options);
      options.output_type = type("q6_K");
      expect_same(model, gguf, options);
      options.pure = false;
      expect_same(model, gguf, options);
      options.token_embd_type = type("q4_0");
      expect_same(model, gguf, options);
      options.output_type.reset();
      expect_same(model, gguf, options);
    }
  }
}

TEST(GgufMix, TheFirstRuleThatMatchesCountsAndShiftsTheOthers) {
  const TempFolder folder;
  const MadeUp model{"llama", 16, 4, 1};
  model.write(folder / "m.gguf");
  for (const char* mix : {"Q4_K_M", "Q3_K_M", "IQ2_M", "Q5_0", "MXFP4_MOE"}) {
    MixOptions options = of_mix(mix);
    options.overrides = {{"blk\\.[01]\\.ffn_down", type("q8_0")},
                         {"attn_v|ffn_down\\.weight$", type("iq4_nl")},
                         {"blk.0.attn_v", type("f16")},
                         {"token_embd", type("q5_1")}};
    expect_same(model, folder / "m.gguf", options);
    options.pure = true;
    expect_same(model, folder / "m.gguf", options);
  }
}

std::string mix_name(const ::testing::TestParamInfo<const char*>& param) {
  std::string name = param.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class FamilyMix : public ::testing::TestWithParam<const char*> {};

// Their 128 columns do not divide into blocks of 256, so that most types are fallbacks.
TEST_P(FamilyMix, EveryMixHasLlamaCppsTypes) {
  const fs::path source = fs::path(COLDPRESS_SHARED_DATA) / "tiny" / GetParam();
  if (!fs::exists(source)) GTEST_SKIP() << source << " is absent";
  const TempFolder work;
  fs::create_directory(work / "in");
  fs::copy_file(source / "model.safetensors", work / "in/model.safetensors");
  Json config = read_json_file(source / "config.json").value();
  if (config.contains("no_rope_layers")) config["no_rope_layers"] = {1, 1, 1};
  spill(work / "in/config.json", config.dump());
  test::add_tokenizer(work / "in", test::byte_level_json());
  const auto model = test::open_model(work / "in");
  ASSERT_NE(model, nullptr);
  const Status s = test::rewrite(*model, work / "out.gguf", DType::kF16);
  ASSERT_TRUE(s.ok()) << s.message();
  const auto written = test::open_model(work / "out.gguf");
  ASSERT_NE(written, nullptr);
  for (const Mix& mix : all_mixes()) {
    for (const bool has_imatrix : {false, true}) {
      MixOptions options = of_mix(mix.name, has_imatrix);
      const Types expected = llama_types(work / "out.gguf", options);
      EXPECT_EQ(ours(gguf_types(*model, options)), expected) << mix.name << " from the folder";
      EXPECT_EQ(ours(gguf_types(*written, options)), expected) << mix.name << " from GGUF";
      if (!mix.is_quantised) continue;
      options.pure = true;
      EXPECT_EQ(ours(gguf_types(*model, options)), llama_types(work / "out.gguf", options))
          << mix.name << " pure";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, FamilyMix,
                         ::testing::Values("bloom", "falcon", "gemma2", "gemma3", "gpt-neox",
                                           "gpt2", "granite", "llama", "llama3-rope", "mixtral",
                                           "olmo2", "phi3", "qwen2", "qwen3", "qwen3-moe",
                                           "smollm3", "starcoder2"),
                         mix_name);

TEST(GgufMix, SmolLm2HasLlamaCppsTypes) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path root = cache != nullptr ? fs::path(cache) : fs::path(home ? home : "") / ".cache";
  const fs::path gguf = root / "coldpress/models/smollm2-135m-instruct.gguf";
  if (!fs::exists(gguf)) GTEST_SKIP() << gguf << " is absent";
  const auto model = test::open_model(gguf);
  ASSERT_NE(model, nullptr);
  for (const Mix& mix : all_mixes()) {
    MixOptions options = of_mix(mix.name);
    EXPECT_EQ(ours(gguf_types(*model, options)), llama_types(gguf, options)) << mix.name;
    if (!mix.is_quantised) continue;
    options.pure = true;
    EXPECT_EQ(ours(gguf_types(*model, options)), llama_types(gguf, options)) << mix.name << " pure";
  }
}

TEST(GgufMix, BytesAreThoseOfTheBlocks) {
  const MadeUp model{"llama", 1, 4, 4};
  MixOptions options = of_mix("Q4_0");
  options.pure = true;
  const auto choices = gguf_types(model.facts(), model.tensors(), options);
  ASSERT_TRUE(choices.ok());
  for (const TensorTypeChoice& c : *choices) {
    uint64_t weights = 1;
    for (const int64_t extent : c.shape) weights *= static_cast<uint64_t>(extent);
    EXPECT_EQ(c.bytes, c.shape.size() == 1 ? weights * 4 : weights / 32 * 18) << c.name;
    EXPECT_EQ(c.is_quantised, c.shape.size() > 1) << c.name;
    EXPECT_EQ(c.instead_of, std::nullopt);
  }
}

// 96 columns: q4_K (144 bytes per 256) gives way to q5_0 (22 per 32), and 48 columns to f16.
TEST(GgufMix, FallbacksAreRefusedWithTheirCostUnlessAllowed) {
  const MixModel facts{"llama", 1, 4, 4, 0};
  const std::vector<MixTensor> tensors = {{"output.weight", {64, 256}, kGgmlF16},
                                          {"blk.0.attn_q.weight", {64, 96}, kGgmlF16},
                                          {"blk.0.attn_k.weight", {64, 48}, kGgmlF16}};
  MixOptions options = of_mix("Q4_K_S");
  const auto allowed = gguf_types(facts, tensors, options);
  ASSERT_TRUE(allowed.ok()) << allowed.status().message();
  EXPECT_EQ((*allowed)[1].ggml_type, type("q5_0"));
  EXPECT_EQ((*allowed)[1].instead_of, type("q4_K"));
  EXPECT_EQ((*allowed)[2].ggml_type, kGgmlF16);
  options.allow_fallback = false;
  const Status refused = gguf_types(facts, tensors, options).status();
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr("2 of 3 tensors"));
  EXPECT_THAT(refused.message(), HasSubstr("blk.0.attn_q.weight (96 columns; q4_K needs a "
                                           "multiple of 256)"));
  // 64 * 96 * (22 / 32 - 144 / 256) and 64 * 48 * (2 - 144 / 256).
  EXPECT_THAT(refused.message(), HasSubstr("for 5184 bytes more"));
  EXPECT_THAT(refused.message(), HasSubstr("--allow-fallback"));
}

TEST(GgufMix, ATypeWithoutFallbackIsRefusedInAnyCase) {
  const MixModel facts{"llama", 1, 4, 4, 0};
  const std::vector<MixTensor> tensors = {{"output.weight", {64, 96}, kGgmlF16}};
  MixOptions options = of_mix("Q4_0");
  options.output_type = type("q6_K");
  EXPECT_THAT(gguf_types(facts, tensors, options).status().message(),
              HasSubstr("no type to fall back to for output.weight (96 columns; q6_K needs"));
  options = of_mix("Q1_0");
  options.pure = true;
  EXPECT_THAT(gguf_types(facts, tensors, options).status().message(), HasSubstr("q1_0"));
}

TEST(GgufMix, NamesAreKnownInAnyCaseAndByAlias) {
  EXPECT_EQ(find_mix("q4_k_m")->file_type, 15u);
  EXPECT_EQ(find_mix("Q4_K")->name, "Q4_K_M");
  EXPECT_EQ(find_mix("Q3_k")->name, "Q3_K_M");
  EXPECT_EQ(all_mixes().size(), 35u);
  const Status unknown = find_mix("Q4_K_XL").status();
  EXPECT_THAT(unknown.message(), HasSubstr("known: Q1_0, "));
  EXPECT_THAT(unknown.message(), HasSubstr("Q4_K_M"));
}

TEST(GgufMix, RulesAreParsed) {
  const auto rule = parse_tensor_type_rule("blk\\.(?=1)..*=Q6_k");
  ASSERT_TRUE(rule.ok()) << rule.status().message();
  EXPECT_EQ(rule->pattern, "blk\\.(?=1)..*");
  EXPECT_EQ(rule->ggml_type, type("q6_K"));
  for (const char* bad :
       {"attn_v", "=q4_0", "attn_v=", "attn_v=q9_0", "attn_v=i32", "attn_v=q8_K", "attn_(=q4_0"}) {
    EXPECT_FALSE(parse_tensor_type_rule(bad).ok()) << bad;
  }
}

TEST(GgufMix, MixesThatQuantiseNothingTakeNoTypes) {
  MixOptions options = of_mix("F16");
  options.pure = true;
  EXPECT_THAT(gguf_types(MixModel{}, {}, options).status().message(),
              HasSubstr("F16 quantises nothing"));
}

}  // namespace
}  // namespace coldpress
