// Folders whose linears are codes: every format of the table that has them, on every grid that it
// takes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "export/export.h"
#include "export/hf_files.h"
#include "export/table.h"
#include "grid/table.h"
#include "io/json.h"
#include "tests/export/round_trip.h"
#include "tests/export/tiny_models.h"

namespace coldpress {
namespace {

using test::kManifest;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

// A linear on a grid, as a solver would leave it.
struct Coded {
  QuantGrid grid;
  Matrix<uint8_t> codes;
  MatrixF values;
  PressedTensor pressed() const { return {values.view(), {}, &grid, codes.view()}; }
};
using Solutions = std::map<std::string, Coded>;

Coded round_to_grid(const MatrixF& w, const GridOptions& options) {
  const std::vector<float> h(static_cast<std::size_t>(w.cols()), 1.0F);
  Coded c{(*find_grid("affine"))->fit(options, w.view(), h), Matrix<uint8_t>(w.rows(), w.cols()),
          MatrixF(w.rows(), w.cols())};
  for (int64_t i = 0; i < w.rows(); ++i) {
    for (int64_t j = 0; j < w.cols(); ++j) c.codes(i, j) = project(c.grid, i, j, w(i, j));
  }
  decode(c.grid, c.codes.view(), c.values.view());
  round_to_dtype(options.scale_type, {c.values.data(), static_cast<std::size_t>(c.values.size())});
  return c;
}

Solutions solve(const Model& model, const GridOptions& options, bool with_head = false) {
  Solutions out;
  const auto add = [&](const std::string& name) {
    out.emplace(name, round_to_grid(model.load(name).value(), options));
  };
  for (int block = 0; block < model.config().blocks; ++block) {
    for (const Tap& tap : model.taps(block)) {
      for (const LinearRef& linear : tap.linears) add(linear.tensor_name);
    }
  }
  if (with_head) add("lm_head.weight");
  return out;
}

ExportRequest request_for(const Model& model, const fs::path& out, const ExportFormat& format,
                          const GridOptions& options, const Solutions& solutions) {
  ExportRequest request{model, out, options.scale_type, {}, "1.2.3"};
  for (const auto& [name, coded] : solutions) request.quantised.push_back(name);
  request.code_format = format.name;
  request.grid = options;
  return request;
}

Status put_all(ExportSink& sink, const Solutions& solutions) {
  for (const auto& [name, coded] : solutions) {
    COLDPRESS_RETURN_IF_ERROR(sink.put(name, coded.pressed()));
  }
  return {};
}

Status write_all(const ExportRequest& request, const Solutions& solutions) {
  COLDPRESS_ASSIGN_OR_RETURN(const auto sink, open_export(request));
  COLDPRESS_RETURN_IF_ERROR(put_all(*sink, solutions));
  return sink->finish(kManifest);
}

std::vector<const ExportFormat*> code_formats() {
  std::vector<const ExportFormat*> out;
  for (const ExportFormat* format : export_table()) {
    if (format->codes != nullptr) out.push_back(format);
  }
  return out;
}

std::vector<GridOptions> grids_of(const ExportFormat& format) {
  std::vector<GridOptions> out;
  for (int bits = 2; bits <= 8; ++bits) {
    for (const int64_t group : {0, 32}) {
      for (const bool symmetric : {false, true}) {
        GridOptions o;
        o.bits = bits;
        o.group = group;
        o.symmetric = symmetric;
        o.scale_type = bits % 2 == 0 ? DType::kBF16 : DType::kF16;
        if (format.codes->check(o).ok()) out.push_back(o);
      }
    }
  }
  return out;
}

class CodeFormats : public ::testing::TestWithParam<const ExportFormat*> {
 protected:
  void SetUp() override {
    test::write_tiny_hf(folder_ / "in", DType::kBF16, true);
    model_ = test::open_model(folder_ / "in");
    ASSERT_NE(model_, nullptr);
    options_ = grids_of(*GetParam()).back();
  }
  const ExportFormat& format() const { return *GetParam(); }
  ExportRequest request(const Solutions& solutions) {
    return request_for(*model_, folder_ / "out", format(), options_, solutions);
  }
  Json config() {
    const auto json = read_json_file(folder_ / "out/config.json");
    EXPECT_TRUE(json.ok());
    return json.ok() ? *json : Json();
  }

  TempFolder folder_;
  std::unique_ptr<Model> model_;
  GridOptions options_;
};

TEST_P(CodeFormats, EveryGridReadsBackBitForBit) {
  const std::vector<GridOptions> grids = grids_of(format());
  EXPECT_GE(grids.size(), 4U);
  int number = 0;
  for (const GridOptions& options : grids) {
    SCOPED_TRACE(testing::Message() << options.bits << " bits, group " << options.group
                                    << (options.symmetric ? ", symmetric" : ""));
    const fs::path out = folder_ / std::to_string(number++);
    const Solutions solutions = solve(*model_, options);
    const Status s = write_all(request_for(*model_, out, format(), options, solutions), solutions);
    ASSERT_TRUE(s.ok()) << s.message();
    const auto written = test::open_model(out);
    ASSERT_NE(written, nullptr);
    EXPECT_TRUE(written->source_is_quantised());
    ASSERT_EQ(written->tensors().size(), model_->tensors().size());
    for (const SourceTensor& before : model_->tensors()) {
      const SourceTensor* after = written->find(before.name);
      ASSERT_NE(after, nullptr) << before.name;
      const auto coded = solutions.find(before.name);
      if (coded == solutions.end()) {
        EXPECT_EQ(after->type, before.type);
        EXPECT_TRUE(std::ranges::equal(after->data, before.data)) << before.name;
        continue;
      }
      EXPECT_EQ(after->type, format().codes->stored_type(options, before.shape[1]));
      const auto values = written->load(before.name);
      ASSERT_TRUE(values.ok()) << values.status().message();
      EXPECT_TRUE(test::same_bits(*values, coded->second.values)) << before.name;
    }
  }
}

TEST_P(CodeFormats, ConfigGainsOneKeyAndSidecarsAreTheSources) {
  options_.scale_type = DType::kBF16;
  spill(folder_ / "in/tokenizer.json", std::string("\0\xff{odd", 6));
  const Solutions solutions = solve(*model_, options_);
  ASSERT_TRUE(write_all(request(solutions), solutions).ok());
  EXPECT_EQ(slurp(folder_ / "out/tokenizer.json"), slurp(folder_ / "in/tokenizer.json"));
  const std::string before = slurp(folder_ / "in/config.json");
  const std::string after = slurp(folder_ / "out/config.json");
  const std::string head = before.substr(0, before.rfind('"') + 1);
  EXPECT_EQ(after.substr(0, head.size()), head);  // as it was, to the byte
  Json json = config();
  EXPECT_EQ(json["quantization_config"]["quant_method"],
            format().name.starts_with("gptq") ? "gptq" : "compressed-tensors");
  json.erase("quantization_config");
  EXPECT_EQ(json, Json::parse(before));
  const auto index = read_json_file(folder_ / "out/model.safetensors.index.json");
  ASSERT_TRUE(index.ok());
  uint64_t total = 0;
  std::map<std::string, std::string> shard_of;
  for (const auto& entry : fs::directory_iterator(folder_ / "out")) {
    if (entry.path().extension() != ".safetensors") continue;
    const auto shard = SafetensorsFile::open(entry.path());
    ASSERT_TRUE(shard.ok());
    for (const SafetensorsInfo& t : shard->content().tensors) {
      total += t.data.size();
      shard_of[t.name] = entry.path().filename().string();
      if (!t.name.ends_with(".g_idx")) continue;
      const int64_t group = options_.group == 0 ? t.shape[0] : options_.group;
      for (int64_t i = 0; i < t.shape[0]; ++i) {  // columns stay in their order
        int32_t stored = -1;
        std::memcpy(&stored, t.data.data() + i * 4, 4);
        ASSERT_EQ(stored, i / group);
      }
    }
  }
  EXPECT_EQ((*index)["weight_map"], Json(shard_of));
  EXPECT_EQ((*index)["metadata"]["total_size"], total);
}

TEST_P(CodeFormats, OneFlippedByteOfAnyPartIsFound) {
  const Solutions solutions = solve(*model_, options_);
  const std::string last = "model.layers.1.mlp.down_proj";
  for (const CodedPart& part : format().codes->parts(options_, last, 64, 96)) {
    SCOPED_TRACE(part.name);
    const auto sink = open_export(request(solutions));
    ASSERT_TRUE(sink.ok()) << sink.status().message();
    ASSERT_TRUE(put_all(**sink, solutions).ok());
    int changed = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
      const std::string path = entry.path().string();
      if (path.find(".safetensors.part") == std::string::npos) continue;
      std::string bytes = slurp(path);
      const std::size_t name = bytes.find("\"" + part.name + "\"");
      if (name == std::string::npos) continue;
      uint64_t header = 0;
      std::memcpy(&header, bytes.data(), sizeof(header));
      const Json json = Json::parse(bytes.substr(8, header));
      const auto offset = json[part.name]["data_offsets"][0].get<std::size_t>() + 8 + header;
      std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
      file.seekp(static_cast<std::streamoff>(offset));
      file.put(static_cast<char>(bytes[offset] ^ 1));
      ++changed;
    }
    ASSERT_EQ(changed, 1);
    const Status s = (*sink)->finish(kManifest);
    EXPECT_EQ(s.code(), StatusCode::kCorrupt);
    EXPECT_THAT(s.message(), HasSubstr(part.name + "\" does not read back as the bytes"));
    EXPECT_FALSE(fs::exists(folder_ / "out"));
  }
}

TEST_P(CodeFormats, ShardsAreOfTheSizeAskedFor) {
  constexpr uint64_t kLimit = 40'000;
  const Solutions solutions = solve(*model_, options_);
  ExportRequest asked = request(solutions);
  asked.shard_bytes = kLimit;
  const Status s = write_all(asked, solutions);
  ASSERT_TRUE(s.ok()) << s.message();
  int shards = 0;
  for (const auto& entry : fs::directory_iterator(folder_ / "out")) {
    if (entry.path().extension() != ".safetensors") continue;
    ++shards;
    EXPECT_LE(fs::file_size(entry.path()), kLimit) << entry.path();
  }
  EXPECT_GT(shards, 2);
  EXPECT_TRUE(fs::exists(folder_ / "out/model.safetensors.index.json"));
  const auto written = test::open_model(folder_ / "out");
  ASSERT_NE(written, nullptr);
  EXPECT_TRUE(
      test::same_bits(*written->load(solutions.begin()->first), solutions.begin()->second.values));
}

TEST_P(CodeFormats, OneShardHasNoIndex) {
  const Solutions solutions = solve(*model_, options_);
  ExportRequest asked = request(solutions);
  asked.shard_bytes = 1'000'000'000;
  ASSERT_TRUE(write_all(asked, solutions).ok());
  EXPECT_TRUE(fs::exists(folder_ / "out/model.safetensors"));
  EXPECT_FALSE(fs::exists(folder_ / "out/model.safetensors.index.json"));
}

TEST_P(CodeFormats, TheHeadIsCodedOnRequest) {
  for (const bool with_head : {false, true}) {
    const Solutions solutions = solve(*model_, options_, with_head);
    const Status s = write_all(request(solutions), solutions);
    if (with_head && format().codes->check_size != nullptr) {  // 264 rows
      EXPECT_THAT(s.message(), HasSubstr("lm_head.weight: 264 x 64"));
      EXPECT_THAT(s.message(), HasSubstr("multiples of 32"));
      continue;
    }
    ASSERT_TRUE(s.ok()) << s.message();
    const Json settings = config()["quantization_config"];
    if (format().name.starts_with("gptq")) {
      EXPECT_EQ(settings["lm_head"], with_head);
    } else {
      EXPECT_EQ(settings["ignore"], with_head ? Json::array() : Json::array({"lm_head"}));
    }
    fs::remove_all(folder_ / "out");
  }
}

TEST_P(CodeFormats, LevelsAndWideScalesAreRefused) {
  GridOptions levels = options_;
  levels.kind = "nf4";
  EXPECT_THAT(
      open_export(request_for(*model_, folder_ / "out", format(), levels, {})).status().message(),
      HasSubstr("use integers"));
  GridOptions wide = options_;
  wide.scale_type = DType::kF32;
  ExportRequest asked = request_for(*model_, folder_ / "out", format(), wide, {});
  EXPECT_THAT(open_export(asked).status().message(), HasSubstr("--dense-type f16 or bf16"));
  asked.dense_type = DType::kF16;
  EXPECT_THAT(open_export(asked).status().message(), HasSubstr("--scale-type f16"));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

INSTANTIATE_TEST_SUITE_P(Table, CodeFormats, ::testing::ValuesIn(code_formats()),
                         [](const auto& param) {
                           std::string name(param.param->name);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// The reader decodes what another program packs (tests/model/packed_golden_test.cc); here the
// stored tensors by the formats' definitions, bit by bit.
TEST(CodedParts, CompressedTensorsFollowsItsDefinition) {
  GridOptions options;
  options.bits = 3;
  options.group = 16;
  QuantGrid grid;
  grid.rows = 3;
  grid.cols = 32;
  grid.group = 16;
  grid.levels = 8;
  grid.scale = MatrixF(3, 2);
  grid.zero = MatrixF(3, 2);
  Matrix<uint8_t> codes(3, 32);
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t g = 0; g < 2; ++g) {
      grid.scale(i, g) = 1.0F + static_cast<float>(2 * i + g);
      grid.zero(i, g) = static_cast<float>((i + 3 * g) % 8);
    }
    for (int64_t j = 0; j < 32; ++j) codes(i, j) = static_cast<uint8_t>((i + 5 * j) % 8);
  }
  const CodeFormat& format = *(*find_code_format("compressed-tensors"))->codes;
  const auto parts = format.parts(options, "x", 3, 32);
  const auto bytes = format.pack(options, grid, codes.view());
  ASSERT_EQ(parts.size(), 4U);
  EXPECT_THAT(parts[0].shape, ElementsAre(3, 3));
  EXPECT_THAT(parts[1].shape, ElementsAre(3, 2));
  EXPECT_THAT(parts[3].shape, ElementsAre(1, 2));
  for (std::size_t k = 0; k < parts.size(); ++k) EXPECT_EQ(parts[k].bytes(), bytes[k].size());
  const auto bit = [](const std::vector<std::byte>& b, std::size_t at) {
    return std::to_integer<int>(b[at / 8]) >> (at % 8) & 1;
  };
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 32; ++j) {
      for (std::size_t k = 0; k < 3; ++k) {
        EXPECT_EQ(bit(bytes[0], (i * 3 * 32) + 3 * j + k),
                  codes(static_cast<int64_t>(i), static_cast<int64_t>(j)) >> k & 1);
      }
    }
    for (std::size_t g = 0; g < 2; ++g) {
      for (std::size_t k = 0; k < 3; ++k) {  // word g holds the zeros of group g, row after row
        EXPECT_EQ(
            bit(bytes[3], g * 32 + 3 * i + k),
            static_cast<int>(grid.zero(static_cast<int64_t>(i), static_cast<int64_t>(g))) >> k & 1);
      }
    }
  }
  const int64_t sizes[] = {3, 32};
  EXPECT_EQ(std::memcmp(bytes[2].data(), sizes, sizeof(sizes)), 0);
}

TEST(CodedParts, WithPackingKeepsTheTextBeforeIt) {
  const Json settings = {{"bits", 4}, {"deep", {{"er", 1}}}};
  EXPECT_EQ(*with_packing("{ \"a\":1 ,\n\t\"b\": [2] }\n\n", settings, "x"),
            "{ \"a\":1 ,\n\t\"b\": [2],\n  \"quantization_config\": {\n    \"bits\": 4,\n"
            "    \"deep\": {\n      \"er\": 1\n    }\n  }\n}\n");
  EXPECT_EQ(*with_packing("{}", Json{{"b", 1}}, "x"),
            "{\n  \"quantization_config\": {\n    \"b\": 1\n  }\n}\n");
}

}  // namespace
}  // namespace coldpress
