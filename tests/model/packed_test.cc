// Packed weights against values computed one by one, and hostile parts against one sentence each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "io/bit_stream.h"
#include "io/fp8.h"
#include "io/json.h"
#include "model/model.h"
#include "tests/model/packed_files.h"

namespace coldpress {
namespace {

using test::int_weight;
using test::IntWeight;
using test::Packed;
using test::RawTensors;
using ::testing::HasSubstr;

TEST(Fp8, E4m3IsItsDefinition) {
  for (int code = 0; code < 256; ++code) {
    const float value = e4m3_to_f32(static_cast<uint8_t>(code));
    if ((code & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(value));
      continue;
    }
    const int e = code >> 3 & 15;
    const double m = (code & 7) / 8.0;
    const double magnitude = e == 0 ? m * std::pow(2.0, -6) : (1 + m) * std::pow(2.0, e - 7);
    EXPECT_EQ(value, static_cast<float>(code >= 128 ? -magnitude : magnitude)) << code;
    EXPECT_EQ(std::signbit(value), code >= 128) << code;
  }
  EXPECT_EQ(e4m3_to_f32(0x7e), 448.0F);
}

TEST(Fp8, E5m2IsItsDefinition) {
  EXPECT_EQ(e5m2_to_f32(0x3c), 1.0F);
  EXPECT_EQ(e5m2_to_f32(0x7b), 57344.0F);
  EXPECT_EQ(e5m2_to_f32(0x81), -std::ldexp(1.0F, -16));
  EXPECT_TRUE(std::isinf(e5m2_to_f32(0x7c)));
  EXPECT_TRUE(std::isnan(e5m2_to_f32(0x7d)));
}

struct PackedCase {
  std::string label;  // of q_proj
  Json settings;
  std::function<Packed(const std::string& name, int64_t out, int64_t in, uint64_t seed)> pack;
};

Json groups(const char* weights) {
  return {{"quant_method", "compressed-tensors"},
          {"config_groups",
           {{"group_0", {{"targets", {"Linear"}}, {"weights", Json::parse(weights)}}}}}};
}

std::vector<PackedCase> cases() {
  std::vector<PackedCase> out;
  out.push_back({"FP8 32x48", Json::parse(R"({"quant_method": "fp8", "fmt": "e4m3",
                              "weight_block_size": [32, 48], "activation_scheme": "dynamic"})"),
                 [](const std::string& name, int64_t rows, int64_t cols, uint64_t seed) {
                   return test::pack_fp8(name, rows, cols, 32, 48, "_scale_inv", seed);
                 }});
  out.push_back({"FP8 tensor", Json{{"quant_method", "fp8"}},
                 [](const std::string& name, int64_t rows, int64_t cols, uint64_t seed) {
                   return test::pack_fp8(name, rows, cols, rows, cols, "_scale", seed);
                 }});
  out.push_back({"FP8 channel",
                 groups(R"({"num_bits": 8, "type": "float", "strategy": "channel"})"),
                 [](const std::string& name, int64_t rows, int64_t cols, uint64_t seed) {
                   return test::pack_fp8(name, rows, cols, 1, cols, "_scale", seed);
                 }});
  out.push_back({"FP8 16x32", groups(R"({"num_bits": 8, "type": "float", "strategy": "block",
                            "block_structure": "16x32"})"),
                 [](const std::string& name, int64_t rows, int64_t cols, uint64_t seed) {
                   return test::pack_fp8(name, rows, cols, 16, 32, "_scale", seed);
                 }});
  for (int bits = 1; bits <= 8; ++bits) {
    const bool symmetric = bits % 2 == 0;
    const std::string width = std::to_string(bits);
    Json settings = groups(R"({"type": "int", "strategy": "group", "group_size": 32})");
    settings["config_groups"]["group_0"]["weights"]["num_bits"] = bits;
    settings["format"] = "pack-quantized";
    out.push_back({"INT" + width + " g32", settings,
                   [=](const std::string& name, int64_t rows, int64_t cols, uint64_t seed) {
                     return test::pack_compressed(
                         name, int_weight(rows, cols, 32, bits, symmetric, bits > 4, seed),
                         symmetric, bits > 4);
                   }});
  }
  out.push_back({"INT4 channel", groups(R"({"num_bits": 4, "type": "int", "strategy": "channel"})"),
                 [](const std::string& name, int64_t rows, int64_t cols, uint64_t seed) {
                   return test::pack_compressed(
                       name, int_weight(rows, cols, cols, 4, false, false, seed), false, false);
                 }});
  for (const int bits : {2, 3, 4, 8}) {
    for (const bool v2 : {false, true}) {
      Json settings = {
          {"quant_method", "gptq"}, {"bits", bits}, {"group_size", 32}, {"desc_act", v2}};
      if (v2) settings["checkpoint_format"] = "gptq_v2";
      out.push_back({"GPTQ INT" + std::to_string(bits) + " g32", settings,
                     [=](const std::string& name, int64_t rows, int64_t cols, uint64_t seed) {
                       return test::pack_gptq(
                           name, int_weight(rows, cols, 32, bits, false, v2, seed), v2, v2);
                     }});
    }
  }
  out.push_back({"GPTQ INT4 channel",
                 Json{{"quant_method", "gptq"}, {"bits", 4}, {"group_size", -1}},
                 [](const std::string& name, int64_t rows, int64_t cols, uint64_t seed) {
                   return test::pack_gptq(name, int_weight(rows, cols, cols, 4, false, false, seed),
                                          false, false);
                 }});
  return out;
}

TEST(PackedSource, EveryFormDecodesToItsValues) {
  for (const PackedCase& c : cases()) {
    SCOPED_TRACE(c.label + " " + c.settings.dump());
    const TempFolder folder;
    RawTensors tensors = test::packed_rest();
    std::map<std::string, std::vector<float>> expected;
    std::size_t parts = 0;
    uint64_t seed = 0;
    for (const auto& [name, size] : test::packed_linears()) {
      Packed packed = c.pack(name, size.first, size.second, ++seed);
      for (auto& [part, content] : packed.parts) {
        parts += part == name + ".weight" ? 0 : 1;
        tensors[part] = std::move(content);
      }
      expected[name + ".weight"] = std::move(packed.values);
    }
    spill(folder / "config.json", test::packed_config(c.settings).dump());
    test::write_raw(folder / "model.safetensors", tensors);
    const auto model = Model::open(folder.path());
    ASSERT_TRUE(model.ok()) << model.status().message();
    EXPECT_TRUE((*model)->source_is_quantised());
    EXPECT_EQ((*model)->set_aside().size(), parts);
    EXPECT_EQ((*model)->tensors().size(), 12U);
    const SourceTensor* q = (*model)->find("model.layers.0.self_attn.q_proj.weight");
    ASSERT_NE(q, nullptr);
    EXPECT_EQ(q->type, c.label);
    EXPECT_TRUE(q->is_packed);
    for (const auto& [name, values] : expected) {
      const auto loaded = (*model)->load(name);
      ASSERT_TRUE(loaded.ok()) << loaded.status().message();
      ASSERT_EQ(loaded->size(), static_cast<int64_t>(values.size()));
      EXPECT_EQ(std::vector<float>(loaded->data(), loaded->data() + loaded->size()), values)
          << name;
    }
  }
}

TEST(PackedSource, Int8WithZeroPoints) {
  const TempFolder folder;
  RawTensors tensors = test::packed_rest();
  for (const auto& [name, size] : test::packed_linears()) {
    const auto [rows, cols] = size;
    std::vector<int8_t> codes(static_cast<std::size_t>(rows * cols), -100);
    tensors[name + ".weight"] = test::raw(DType::kI8, {rows, cols}, codes);
    tensors[name + ".weight_scale"] = test::raw_floats(
        DType::kF16, {rows, 1}, std::vector<float>(static_cast<std::size_t>(rows), 0.5F));
    tensors[name + ".weight_zero_point"] =
        test::raw(DType::kI8, {rows, 1}, std::vector<int8_t>(static_cast<std::size_t>(rows), 28));
    tensors[name + ".input_scale"] = test::raw_floats(DType::kF32, {1}, {1});
  }
  spill(folder / "config.json",
        test::packed_config(groups(R"({"num_bits": 8, "strategy": "channel"})")).dump());
  test::write_raw(folder / "model.safetensors", tensors);
  const auto model = Model::open(folder.path());
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ((*model)->set_aside().size(), 21U);
  const auto w = (*model)->load("model.layers.0.mlp.up_proj.weight");
  ASSERT_TRUE(w.ok());
  EXPECT_EQ((*w)(95, 63), -64.0F);
}

// A folder of one form, spoilt by `edit`: opening or loading must fail with `refusal`.
void expect_refused(const PackedCase& c, const std::string& refusal,
                    const std::function<void(RawTensors&, Json&)>& edit) {
  const TempFolder folder;
  RawTensors tensors = test::packed_rest();
  for (const auto& [name, size] : test::packed_linears()) {
    for (auto& [part, content] : c.pack(name, size.first, size.second, 1).parts) {
      tensors[part] = std::move(content);
    }
  }
  Json settings = c.settings;
  edit(tensors, settings);
  spill(folder / "config.json", test::packed_config(settings).dump());
  test::write_raw(folder / "model.safetensors", tensors);
  const auto model = Model::open(folder.path());
  Status status = model.status();
  if (model.ok()) {
    for (const SourceTensor& t : (*model)->tensors()) {
      if (status.ok()) status = (*model)->load(t.name).status();
    }
  }
  ASSERT_FALSE(status.ok()) << refusal;
  EXPECT_THAT(status.message(), HasSubstr(refusal));
  EXPECT_THAT(status.message(), HasSubstr(folder.path().filename().string()));
}

const std::string kUp = "model.layers.0.mlp.up_proj";  // (96, 64)

PackedCase case_named(const std::string& label) {
  for (const PackedCase& c : cases()) {
    if (c.label == label) return c;
  }
  ADD_FAILURE() << label;
  return {};
}

test::RawTensor zeros_of(DType type, std::vector<int64_t> shape) {
  int64_t bytes = dtype_size(type);
  for (const int64_t dim : shape) bytes *= dim;
  return {type, std::move(shape), std::vector<std::byte>(static_cast<std::size_t>(bytes))};
}

TEST(HostileFp8, PartsAreChecked) {
  const PackedCase c = case_named("FP8 32x48");
  const auto put = [&](const std::string& suffix, DType type, std::vector<int64_t> shape) {
    return [=](RawTensors& t, Json&) { t[kUp + suffix] = zeros_of(type, shape); };
  };
  expect_refused(c, "which holds the scales",
                 [](RawTensors& t, Json&) { t.erase(kUp + ".weight_scale_inv"); });
  expect_refused(c, "implies other blocks", put(".weight_scale_inv", DType::kF32, {2, 2}));
  expect_refused(c, "implies other blocks", put(".weight_scale_inv", DType::kF32, {6}));
  expect_refused(c, "holds scales as I32", put(".weight_scale_inv", DType::kI32, {3, 2}));
  expect_refused(c, "matrix that is not empty", put(".weight", DType::kF8E4M3, {96, 8, 8}));
  expect_refused(c, "matrix that is not empty", put(".weight", DType::kF8E4M3, {0, 1 << 30}));
  expect_refused(c, "NaN or infinity",
                 [](RawTensors& t, Json&) { t[kUp + ".weight"].bytes[77] = std::byte{0x7f}; });
  for (const char* bad : {"[128]", "128", "[0, 128]", "[-1, 2]", "[1, 99999999999]", "[1.5, 2]"}) {
    expect_refused(c, "must be two sizes",
                   [bad](RawTensors&, Json& s) { s["weight_block_size"] = Json::parse(bad); });
  }
}

TEST(HostileCompressedTensors, PartsAreChecked) {
  const PackedCase c = case_named("INT5 g32");  // zero points and an index
  const auto put = [&](const std::string& suffix, DType type, std::vector<int64_t> shape) {
    return [=](RawTensors& t, Json&) { t[kUp + suffix] = zeros_of(type, shape); };
  };
  for (const char* part : {"shape", "scale"}) {
    expect_refused(c, std::string("which holds the ") + part,
                   [part](RawTensors& t, Json&) { t.erase(kUp + ".weight_" + part); });
  }
  expect_refused(c, "two sizes of a matrix", put(".weight_shape", DType::kI64, {2}));
  expect_refused(c, "two sizes of a matrix", put(".weight_shape", DType::kI64, {3}));
  expect_refused(c, "two sizes of a matrix", put(".weight_shape", DType::kF32, {2}));
  const auto shape = [](int64_t rows, int64_t cols) {
    return [=](RawTensors& t, Json&) {
      t[kUp + ".weight_shape"] = test::raw(DType::kI64, {2}, std::vector<int64_t>{rows, cols});
    };
  };
  expect_refused(c, "two sizes of a matrix", shape(97, 64));
  expect_refused(c, "two sizes of a matrix", shape(96, -64));
  expect_refused(c, "fits none", shape(96, int64_t{1} << 62));
  expect_refused(c, "fits none", put(".weight_scale", DType::kBF16, {96, 3}));
  expect_refused(c, "fits none", put(".weight_packed", DType::kI32, {96, 12}));
  expect_refused(c, "holds scales as F8_E4M3", put(".weight_scale", DType::kF8E4M3, {96, 2}));
  expect_refused(c, "packed codes are I32", put(".weight_packed", DType::kF32, {96, 11}));
  expect_refused(c, "matrix that is not empty", put(".weight_packed", DType::kI32, {0, 11}));
  expect_refused(c, "zero points of this weight", put(".weight_zero_point", DType::kI32, {16, 3}));
  expect_refused(c, "zero points of this weight", put(".weight_zero_point", DType::kI64, {16, 2}));
  expect_refused(c, "there are 64 inputs", put(".weight_g_idx", DType::kI32, {63}));
  expect_refused(c, "there are 64 inputs", put(".weight_g_idx", DType::kF32, {64}));
  for (const int32_t group : {-1, 2, INT32_MAX}) {
    expect_refused(c, "puts input 0 into group", [group](RawTensors& t, Json&) {
      std::memcpy(t[kUp + ".weight_g_idx"].bytes.data(), &group, sizeof(group));
    });
  }
  expect_refused(c, "is stored twice", put(".weight", DType::kF32, {96, 64}));
  // Two groups that both fit.
  expect_refused(c, "fits several", [](RawTensors&, Json& s) {
    s["config_groups"]["more"] = s["config_groups"]["group_0"];
    s["config_groups"]["more"]["weights"]["group_size"] = 33;
  });
}

TEST(HostileCompressedTensors, SettingsAreChecked) {
  const PackedCase c = case_named("INT4 g32");
  const auto weights = [](const char* key, const Json& value) {
    return [=](RawTensors&, Json& s) { s["config_groups"]["group_0"]["weights"][key] = value; };
  };
  for (const Json& bits : {Json(0), Json(9), Json("4"), Json(4.5), Json(uint64_t{1} << 63)}) {
    expect_refused(c, "\"num_bits\" of quantization_config", weights("num_bits", bits));
  }
  expect_refused(c, "\"group_size\"", weights("group_size", -2));
  expect_refused(c, "the strategy 'token'", weights("strategy", "token"));
  expect_refused(c, "the strategy 'group'", weights("group_size", 0));
  expect_refused(c, "block_structure", weights("strategy", "block"));
  for (const Json& block : {Json("128"), Json("0x4"), Json("4x"), Json("axb"), Json(4),
                            Json::parse("[1, -1]"), Json::parse("[1, 2, 3]")}) {
    expect_refused(c, "block_structure", [&](RawTensors& t, Json& s) {
      weights("strategy", "block")(t, s);
      weights("block_structure", block)(t, s);
    });
  }
  expect_refused(c, "the format 'marlin-24'",
                 [](RawTensors&, Json& s) { s["format"] = "marlin-24"; });
  expect_refused(c, "the sparse format", [](RawTensors&, Json& s) {
    s["sparsity_config"] = {{"format", "sparse-24-bitmask"}};
  });
  expect_refused(c, "is no object", [](RawTensors&, Json& s) { s["config_groups"]["x"] = 3; });
  expect_refused(c, "fits none", [](RawTensors&, Json& s) { s.erase("config_groups"); });
}

TEST(HostileGptq, PartsAreChecked) {
  PackedCase c = case_named("GPTQ INT3 g32");
  const auto put = [&](const std::string& suffix, DType type, std::vector<int64_t> shape) {
    return [=](RawTensors& t, Json&) { t[kUp + suffix] = zeros_of(type, shape); };
  };
  for (const char* part : {".qzeros", ".scales"}) {
    expect_refused(c, "is missing", [part](RawTensors& t, Json&) { t.erase(kUp + part); });
  }
  expect_refused(c, "do not fill it", put(".qweight", DType::kI32, {7, 96}));
  expect_refused(c, "packed codes are I32", put(".qweight", DType::kI64, {6, 96}));
  expect_refused(c, "matrix that is not empty", put(".qweight", DType::kI32, {6, 0}));
  expect_refused(c, "matrix that is not empty", put(".qzeros", DType::kI32, {1 << 30, 0}));
  expect_refused(c, "zero points of 3 bits", put(".qzeros", DType::kI32, {2, 8}));
  expect_refused(c, "imply [2, 96]", put(".scales", DType::kF16, {96, 2}));
  expect_refused(c, "holds scales as I16", put(".scales", DType::kI16, {2, 96}));
  expect_refused(c, "another number of groups", [&](RawTensors& t, Json&) {
    t[kUp + ".qzeros"] = zeros_of(DType::kI32, {3, 9});
    t[kUp + ".scales"] = zeros_of(DType::kF16, {3, 96});
  });
  expect_refused(c, "there are 64 inputs", put(".g_idx", DType::kI32, {65}));
  expect_refused(c, "holds group numbers as F32", put(".g_idx", DType::kF32, {64}));
  for (const int32_t group : {-1, 2, INT32_MIN}) {
    expect_refused(c, "puts input 0 into group", [group](RawTensors& t, Json&) {
      std::vector<int32_t> index(64, 1);
      index[0] = group;
      t[kUp + ".g_idx"] = test::raw(DType::kI32, {64}, index);
    });
  }
  expect_refused(c, "codes of 5 bits", [](RawTensors&, Json& s) { s["bits"] = 5; });
  expect_refused(c, "\"group_size\"", [](RawTensors&, Json& s) { s["group_size"] = "32"; });
  expect_refused(c, "checkpoint_format 'marlin'",
                 [](RawTensors&, Json& s) { s["checkpoint_format"] = "marlin"; });
}

TEST(HostilePacked, UnknownMethodsAreNamed) {
  const PackedCase c = case_named("FP8 tensor");
  expect_refused(c, "quantised by 'bitsandbytes'; compressed-tensors, fp8, gptq can be read",
                 [](RawTensors&, Json& s) { s["quant_method"] = "bitsandbytes"; });
  expect_refused(c, "quantised by ''", [](RawTensors&, Json& s) { s.erase("quant_method"); });
  expect_refused(c, "\"quantization_config\" is no object",
                 [](RawTensors&, Json& s) { s = "fp8"; });
}

// Widths that differ from linear to linear follow from the shapes.
TEST(PackedSource, GptqWidthsMayVary) {
  PackedCase c = case_named("GPTQ INT4 g32");
  const TempFolder folder;
  RawTensors tensors = test::packed_rest();
  std::map<std::string, std::vector<float>> expected;
  for (const auto& [name, size] : test::packed_linears()) {
    const int bits = name == kUp ? 8 : 4;
    Packed p = test::pack_gptq(name, int_weight(size.first, size.second, 32, bits, false, false, 3),
                               false, true);
    for (auto& [part, content] : p.parts) tensors[part] = std::move(content);
    expected[name] = p.values;
  }
  Json settings = c.settings;
  settings["dynamic"] = {{"+:.*up_proj", {{"bits", 8}}}};
  spill(folder / "config.json", test::packed_config(settings).dump());
  test::write_raw(folder / "model.safetensors", tensors);
  const auto model = Model::open(folder.path());
  ASSERT_TRUE(model.ok()) << model.status().message();
  const auto up = (*model)->load(kUp + ".weight");
  ASSERT_TRUE(up.ok());
  EXPECT_EQ(std::vector<float>(up->data(), up->data() + up->size()), expected[kUp]);
}

}  // namespace
}  // namespace coldpress
