// Writing the container that the source came in.
#include "export/export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>

#include "export/hf_files.h"
#include "export/table.h"
#include "export/verify.h"
#include "io/json.h"
#include "tests/export/round_trip.h"
#include "tests/export/tiny_models.h"

namespace coldpress {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;
using How = ExportedTensor::How;
using test::kManifest;

// Presses with made-up solutions, whole story.
Status export_all(const Model& model, const fs::path& out, DType type,
                  const std::map<std::string, MatrixF>& solutions) {
  COLDPRESS_ASSIGN_OR_RETURN(const auto sink,
                             open_export({model, out, type, test::names_of(solutions), "1.2.3"}));
  for (const auto& [name, values] : solutions) {
    COLDPRESS_RETURN_IF_ERROR(sink->put(name, {values.view(), {}}));
  }
  return sink->finish(kManifest);
}

// Every tensor of the output is the solution or the source's bytes.
void expect_output(const Model& source, const fs::path& out, const std::string& stored_type,
                   const std::map<std::string, MatrixF>& solutions) {
  const auto written = test::open_model(out);
  ASSERT_NE(written, nullptr);
  ASSERT_EQ(written->tensors().size(), source.tensors().size());
  for (std::size_t i = 0; i < source.tensors().size(); ++i) {
    const SourceTensor& before = source.tensors()[i];
    const SourceTensor& after = written->tensors()[i];
    ASSERT_EQ(after.name, before.name);
    EXPECT_EQ(after.shape, before.shape);
    const auto solution = solutions.find(before.name);
    if (solution == solutions.end()) {
      EXPECT_EQ(after.type, before.type);
      EXPECT_TRUE(
          std::equal(after.data.begin(), after.data.end(), before.data.begin(), before.data.end()))
          << before.name;
    } else {
      EXPECT_EQ(after.type, stored_type);
      const auto values = written->load(after.name);
      ASSERT_TRUE(values.ok());
      EXPECT_TRUE(test::same_bits(*values, solution->second)) << before.name;
    }
  }
}

class HfExport : public ::testing::TestWithParam<bool> {};  // sharded?

TEST_P(HfExport, HoldsTheSolutionsAndTheSourcesBytes) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "in", DType::kBF16, GetParam());
  const auto model = test::open_model(folder / "in");
  for (const DType type : {DType::kBF16, DType::kF16, DType::kF32}) {
    const std::string name(dtype_name(type));
    const auto solutions = test::made_up_solutions(*model, type);
    ASSERT_EQ(solutions.size(), 14U);
    const Status s = export_all(*model, folder / name, type, solutions);
    ASSERT_TRUE(s.ok()) << s.message();
    expect_output(*model, folder / name, name, solutions);
  }
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"BF16", "F16", "F32", "in"}));
}

TEST_P(HfExport, SameTypeKeepsTheShardsHeadersAndIndex) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "in", DType::kBF16, GetParam());
  const auto model = test::open_model(folder / "in");
  const auto solutions = test::made_up_solutions(*model, DType::kBF16);
  ASSERT_TRUE(export_all(*model, folder / "out", DType::kBF16, solutions).ok());
  for (const auto& entry : fs::directory_iterator(folder / "in")) {
    const std::string name = entry.path().filename().string();
    const std::string before = slurp(entry.path());
    const std::string after = slurp(folder / "out" / name);
    ASSERT_EQ(after.size(), before.size()) << name;
    if (name.ends_with(".safetensors")) {
      uint64_t header = 0;
      std::memcpy(&header, before.data(), sizeof(header));
      EXPECT_EQ(after.substr(0, 8 + header), before.substr(0, 8 + header)) << name;
    } else {
      EXPECT_EQ(after, before) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shards, HfExport, ::testing::Values(false, true),
                         [](const auto& param) { return param.param ? "Two" : "One"; });

TEST(HfExportIndex, TotalSizeFollowsTheTypes) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "in", DType::kF32, true);
  const auto model = test::open_model(folder / "in");
  const auto solutions = test::made_up_solutions(*model, DType::kF16);
  ASSERT_TRUE(export_all(*model, folder / "out", DType::kF16, solutions).ok());
  const auto index = read_json_file(folder / "out/model.safetensors.index.json");
  ASSERT_TRUE(index.ok());
  uint64_t total = 0;
  const auto written = test::open_model(folder / "out");
  for (const SourceTensor& t : written->tensors()) total += t.data.size();
  EXPECT_EQ((*index)["metadata"]["total_size"], total);
  EXPECT_EQ((*index)["weight_map"],
            (*read_json_file(folder / "in/model.safetensors.index.json"))["weight_map"]);
}

TEST(HfExportFiles, SidecarsAreCopiedAndWeightsAreNot) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "in", DType::kBF16, false);
  const std::string odd("\0\xff{not json\r\n", 13);
  for (const char* name : {"tokenizer.json", "generation_config.json", ".gitattributes"}) {
    spill(folder / "in" / name, odd + name);
  }
  for (const char* name : {"pytorch_model.bin", "golden.safetensors", "x.gguf", "coldpress.json"}) {
    spill(folder / "in" / name, "old");
  }
  fs::create_directory(folder / "in/onnx");
  fs::create_symlink(folder / "in/tokenizer.json", folder / "in/linked.json");  // as in hub caches
  const auto model = test::open_model(folder / "in");
  ASSERT_TRUE(
      export_all(*model, folder / "out", DType::kF16, test::made_up_solutions(*model, DType::kF16))
          .ok());
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder / "out")) {
    EXPECT_FALSE(entry.is_symlink());
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  EXPECT_THAT(names, ElementsAre(".gitattributes", "coldpress.json", "config.json",
                                 "generation_config.json", "linked.json", "model.safetensors",
                                 "tokenizer.json"));
  EXPECT_EQ(slurp(folder / "out/tokenizer.json"), odd + "tokenizer.json");
  EXPECT_EQ(slurp(folder / "out/linked.json"), odd + "tokenizer.json");
  EXPECT_EQ(slurp(folder / "out/coldpress.json"), kManifest.full);
  EXPECT_EQ(slurp(folder / "out/config.json"), test::tiny_config("float16"));
}

TEST(WithDtype, EditsThatValueOnly) {
  EXPECT_EQ(with_dtype(R"({"dtype":"float32", "a": {"torch_dtype" : "bfloat16"}})", DType::kF16),
            R"({"dtype":"float16", "a": {"torch_dtype" : "float16"}})");
  for (const char* same :
       {R"({"dtype": null})", R"({"dtype": 3})", R"({"x": "dtype"})", R"({"x_dtype": "float32"})",
        R"({"torch_dtype": "float16"})", R"({"x": "\"dtype\": \"float32\""})", R"({"dtype)",
        R"({"dtype":)", R"({"dtype": ")"}) {
    EXPECT_EQ(with_dtype(same, DType::kF16), same);
  }
  EXPECT_EQ(with_dtype(R"({"dtype":"x"})", DType::kBF16), R"({"dtype":"bfloat16"})");
  EXPECT_EQ(with_dtype(R"({"dtype":"x"})", DType::kF32), R"({"dtype":"float32"})");
}

TEST(GgufExport, HoldsTheSolutionsAndTheSourcesBytes) {
  const TempFolder folder;
  test::write_tiny_gguf(folder / "in.gguf", test::tiny_gguf_metadata());
  const auto model = test::open_model(folder / "in.gguf");
  const std::pair<DType, const char*> types[] = {
      {DType::kF16, "f16"}, {DType::kBF16, "bf16"}, {DType::kF32, "f32"}};
  for (const auto& [type, name] : types) {
    const fs::path out = folder / (std::string(name) + ".gguf");
    const auto solutions = test::made_up_solutions(*model, type);
    const Status s = export_all(*model, out, type, solutions);
    ASSERT_TRUE(s.ok()) << s.message();
    expect_output(*model, out, name, solutions);
  }
}

TEST(GgufExport, MetadataIsTheSourcesAndOurs) {
  const TempFolder folder;
  test::write_tiny_gguf(folder / "in.gguf", test::tiny_gguf_metadata());
  const auto model = test::open_model(folder / "in.gguf");
  ASSERT_TRUE(export_all(*model, folder / "out.gguf", DType::kBF16,
                         test::made_up_solutions(*model, DType::kBF16))
                  .ok());
  const auto before = GgufFile::open(folder / "in.gguf");
  const auto after = GgufFile::open(folder / "out.gguf");
  ASSERT_TRUE(before.ok() && after.ok());
  const GgufContent& c = after->content();
  EXPECT_EQ(c.alignment, before->content().alignment);
  EXPECT_EQ(c.metadata.size(), before->content().metadata.size() + 2);
  for (std::size_t i = 0; i < before->content().metadata.size(); ++i) {
    EXPECT_EQ(c.metadata[i].first, before->content().metadata[i].first);
  }
  EXPECT_EQ(c.find("general.name")->as_string(), "tiny");
  EXPECT_EQ(c.find("general.file_type")->as_int(), 32);
  EXPECT_EQ(c.find("coldpress.version")->as_string(), "1.2.3");
  EXPECT_EQ(Json::parse(*c.find("coldpress.manifest")->as_string()), Json({{"some", 1}}));
  EXPECT_EQ(slurp(folder / "out.gguf.coldpress.json"), kManifest.full);
  EXPECT_EQ(folder.names().size(), 3U);
}

TEST(GgufExport, PressingAPressedFileReplacesOurKeys) {
  const TempFolder folder;
  test::write_tiny_gguf(folder / "in.gguf", test::tiny_gguf_metadata());
  const auto first = test::open_model(folder / "in.gguf");
  ASSERT_TRUE(export_all(*first, folder / "one.gguf", DType::kF16,
                         test::made_up_solutions(*first, DType::kF16))
                  .ok());
  const auto second = test::open_model(folder / "one.gguf");
  ASSERT_TRUE(export_all(*second, folder / "two.gguf", DType::kF16,
                         test::made_up_solutions(*second, DType::kF16))
                  .ok());
  EXPECT_EQ(slurp(folder / "one.gguf"), slurp(folder / "two.gguf"));
}

TEST(GgufExport, AManifestTooLongForItsPlaceIsBesideTheFile) {
  const TempFolder folder;
  test::write_tiny_gguf(folder / "in.gguf", test::tiny_gguf_metadata());
  const auto model = test::open_model(folder / "in.gguf");
  const auto sink = open_export({*model, folder / "out.gguf", DType::kF16, {}, "1"});
  ASSERT_TRUE(sink.ok());
  ASSERT_TRUE((*sink)->finish({"full", "\"" + std::string(1 << 20, 'x') + "\""}).ok());
  const auto written = GgufFile::open(folder / "out.gguf");
  EXPECT_EQ(Json::parse(*written->content().find("coldpress.manifest")->as_string())["manifest"],
            "in out.gguf.coldpress.json");
  EXPECT_EQ(slurp(folder / "out.gguf.coldpress.json"), "full");
}

// Both containers: a source and the name of an output.
class AnyExport : public ::testing::TestWithParam<bool> {  // GGUF?
 protected:
  void SetUp() override {
    fs::create_directory(work_ / "to");
    if (GetParam()) {
      test::write_tiny_gguf(work_ / "in.gguf", test::tiny_gguf_metadata());
      model_ = test::open_model(work_ / "in.gguf");
      out_ = work_ / "to/out.gguf";
    } else {
      test::write_tiny_hf(work_ / "in", DType::kF16, true);
      model_ = test::open_model(work_ / "in");
      out_ = work_ / "to/out";
    }
    ASSERT_NE(model_, nullptr);
    solutions_ = test::made_up_solutions(*model_, DType::kF16);
  }
  Result<std::unique_ptr<ExportSink>> open() {
    return open_export({*model_, out_, DType::kF16, test::names_of(solutions_), "1"});
  }
  std::vector<std::string> left() const {
    std::vector<std::string> names;
    for (const auto& e : fs::directory_iterator(out_.parent_path())) {
      names.push_back(e.path().filename().string());
    }
    return names;
  }
  // The unfinished output's file that holds most of the weights.
  fs::path part() const {
    fs::path largest;
    for (const auto& e : fs::recursive_directory_iterator(out_.parent_path())) {
      if (e.is_regular_file() && (largest.empty() || e.file_size() > fs::file_size(largest))) {
        largest = e.path();
      }
    }
    return largest;
  }

  TempFolder work_;
  fs::path out_;
  std::unique_ptr<Model> model_;
  std::map<std::string, MatrixF> solutions_;
};

TEST_P(AnyExport, TellsWhatBecomesOfEachTensor) {
  const auto sink = open();
  ASSERT_TRUE(sink.ok()) << sink.status().message();
  const auto tensors = (*sink)->tensors();
  ASSERT_EQ(tensors.size(), model_->tensors().size());
  for (const ExportedTensor& t : tensors) {
    const bool quantised = solutions_.contains(t.source_name);
    EXPECT_EQ(t.how, quantised ? How::kQuantised : How::kCopied);
    EXPECT_EQ(t.name, t.source_name);
    const std::string f16 = GetParam() ? "f16" : "F16";
    EXPECT_EQ(t.stored_type, quantised ? f16 : model_->find(t.name)->type);
  }
}

TEST_P(AnyExport, AbandonedLeavesNothing) {
  {
    const auto sink = open();
    ASSERT_TRUE(sink.ok());
    ASSERT_TRUE(
        (*sink)->put(solutions_.begin()->first, {solutions_.begin()->second.view(), {}}).ok());
    EXPECT_FALSE(fs::exists(out_));
  }
  EXPECT_THAT(left(), IsEmpty());
}

TEST_P(AnyExport, SameTwice) {
  const auto run = [&](const fs::path& out) {
    const Status s = export_all(*model_, out, DType::kF16, solutions_);
    EXPECT_TRUE(s.ok()) << s.message();
    if (!fs::is_directory(out)) return slurp(out);
    return slurp(out / "model-00001-of-00002.safetensors") +
           slurp(out / "model-00002-of-00002.safetensors");
  };
  fs::path other = out_;
  other.replace_filename(GetParam() ? "other.gguf" : "other");
  EXPECT_EQ(run(out_), run(other));
}

TEST_P(AnyExport, OneFlippedBitIsFound) {
  {
    const auto sink = open();
    ASSERT_TRUE(sink.ok());
    for (const auto& [name, values] : solutions_) {
      ASSERT_TRUE((*sink)->put(name, {values.view(), {}}).ok());
    }
    // The last bytes of the file belong to a quantised tensor (block 1's ffn_down).
    const fs::path file = part();
    std::string bytes = slurp(file);
    bytes[bytes.size() - 70] = static_cast<char>(bytes[bytes.size() - 70] ^ 1);
    std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.close();
    const Status s = (*sink)->finish(kManifest);
    EXPECT_EQ(s.code(), StatusCode::kCorrupt);
    EXPECT_THAT(s.message(), HasSubstr("does not read back as the values that were written"));
    EXPECT_THAT(s.message(), HasSubstr(out_.string() + ": tensor"));
    EXPECT_FALSE(fs::exists(out_));
  }
  EXPECT_THAT(left(), IsEmpty());
}

TEST_P(AnyExport, LostTensorDirectoryIsFound) {
  {
    const auto sink = open();
    ASSERT_TRUE(sink.ok());
    for (const auto& [name, values] : solutions_) {
      ASSERT_TRUE((*sink)->put(name, {values.view(), {}}).ok());
    }
    std::fstream out(part(), std::ios::binary | std::ios::in | std::ios::out);
    out << std::string(16, '\xff');
    out.close();
    EXPECT_THAT((*sink)->finish(kManifest).message(), HasSubstr("cannot be read back"));
  }
  EXPECT_THAT(left(), IsEmpty());
}

TEST_P(AnyExport, AnExistingOutputIsRefused) {
  if (GetParam()) {
    spill(out_, "precious");
  } else {
    fs::create_directory(out_);
    spill(out_ / "x", "precious");
  }
  const Status s = open().status();
  EXPECT_EQ(s.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(s.message(), HasSubstr("already exists; remove it or choose another name"));
  EXPECT_EQ(slurp(GetParam() ? out_ : out_ / "x"), "precious");
}

TEST_P(AnyExport, AMissingFolderIsRefused) {
  out_ = work_ / "no/such" / out_.filename().string();
  EXPECT_THAT(open().status().message(), HasSubstr("create it first"));
}

TEST_P(AnyExport, AnUnknownTensorIsRefused) {
  const Status s = open_export({*model_, out_, DType::kF16, {"no.such.weight"}, "1"}).status();
  EXPECT_THAT(s.message(), HasSubstr("no tensor \"no.such.weight\""));
}

TEST_P(AnyExport, OnlyFloatTypesAreDense) {
  EXPECT_THAT(open_export({*model_, out_, DType::kI8, {}, "1"}).status().message(),
              HasSubstr("choose F16, BF16 or F32"));
}

using AnyExportDeathTest = AnyExport;

TEST_P(AnyExportDeathTest, ValuesThatWouldBeRoundedAreOurBug) {
  const auto sink = open();
  ASSERT_TRUE(sink.ok());
  MatrixF values = solutions_.begin()->second.clone();
  values(1, 1) = 1.0F + 0x1.0p-20F;
  EXPECT_DEATH((void)(*sink)->put(solutions_.begin()->first, {values.view(), {}}),
               "internal error");
  EXPECT_DEATH((void)(*sink)->put("other", {values.view(), {}}), "internal error");
}

INSTANTIATE_TEST_SUITE_P(Containers, AnyExport, ::testing::Bool(),
                         [](const auto& p) { return p.param ? "Gguf" : "Hf"; });
INSTANTIATE_TEST_SUITE_P(Containers, AnyExportDeathTest, ::testing::Bool(),
                         [](const auto& p) { return p.param ? "Gguf" : "Hf"; });

TEST(Export, ASafetensorsFileNameIsNotAFolder) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "in", DType::kF16, false);
  const auto model = test::open_model(folder / "in");
  EXPECT_THAT(
      open_export({*model, folder / "out.safetensors", DType::kF16, {}, "1"}).status().message(),
      HasSubstr("is a folder; give a folder's name"));
}

// Folders of codes are asked for by name; all else by the output's suffix.
TEST(ExportTable, NamesAreUniqueAndSoAreSuffixesOfWhatHoldsValues) {
  std::set<std::string_view> names;
  std::set<std::string_view> suffixes;
  for (const ExportFormat* f : export_table()) {
    EXPECT_FALSE(f->name.empty());
    EXPECT_TRUE(names.insert(f->name).second) << f->name;
    EXPECT_NE(f->create, nullptr);
    if (f->codes != nullptr) {
      EXPECT_EQ(f->suffix, "") << f->name;
    } else {
      EXPECT_TRUE(suffixes.insert(f->suffix).second) << f->name;
    }
  }
  EXPECT_TRUE(suffixes.contains(""));
}

TEST_P(AnyExport, AFullDiskIsKnownBeforeAnyCompute) {
  const TinyDisk disk;
  if (!disk.mounted()) GTEST_SKIP() << "mounting a tiny file system is not allowed here";
  out_ = disk.folder() / out_.filename().string();
  const Status s = open().status();
  EXPECT_THAT(s.message(), HasSubstr("No space left on device; free some space"));
  EXPECT_THAT(disk.folder().names(), IsEmpty());
}

TEST_P(AnyExport, VerifyFindsAChangedCopy) {
  const ExportRequest request = {*model_, out_, DType::kF16, test::names_of(solutions_), "1"};
  ASSERT_TRUE(export_all(*model_, out_, DType::kF16, solutions_).ok());
  const auto layout = plan_layout(request, GetParam() ? Naming::kGguf : Naming::kHf);
  ASSERT_TRUE(layout.ok());
  PieceHashes hashes;
  for (const auto& [name, values] : solutions_) hashes[{name, 0}] = hash_values(values.view());
  const Status good = verify_output(out_, "name", *model_, layout->tensors, hashes);
  EXPECT_TRUE(good.ok()) << good.message();

  // The embeddings come first in both containers and are copied.
  const fs::path file = GetParam() ? out_ : out_ / "model-00001-of-00002.safetensors";
  const auto written = test::open_model(out_);
  std::string bytes = slurp(file);
  const std::span<const std::byte> copied = written->tensors()[0].data;
  const std::string content(reinterpret_cast<const char*>(copied.data()), copied.size());
  bytes[bytes.find(content) + 100] ^= 4;
  spill(file, bytes);
  const Status bad = verify_output(out_, "name", *model_, layout->tensors, hashes);
  EXPECT_THAT(bad.message(), HasSubstr("name: tensor \"" + written->tensors()[0].name +
                                       "\" does not read back as the source's bytes"));
}

// Real architectures, if their checkpoints are here.
TEST(ExportTiny, EveryKnownFamilyRoundTrips) {
  const fs::path root = fs::path(COLDPRESS_SHARED_DATA) / "tiny";
  if (!fs::exists(root)) GTEST_SKIP() << root << " is absent";
  const TempFolder folder;
  int families = 0;
  for (const auto& entry : fs::directory_iterator(root)) {
    const auto model = Model::open(entry.path());
    if (!model.ok()) continue;  // families of later issues
    ++families;
    const auto solutions = test::made_up_solutions(**model, DType::kBF16);
    const fs::path out = folder / entry.path().filename().string();
    const Status s = export_all(**model, out, DType::kBF16, solutions);
    ASSERT_TRUE(s.ok()) << s.message();
    expect_output(**model, out, "BF16", solutions);
  }
  EXPECT_GE(families, 4);
}

}  // namespace
}  // namespace coldpress
