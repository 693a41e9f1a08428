#include "io/gguf.h"

#include <gguf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "io/ggml_codec.h"
#include "tests/io/bad_file.h"
#include "tests/io/test_files.h"

namespace coldpress {
namespace {

using test::Bad;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string text(const std::string& s) { return pack<uint64_t>(s.size()) + s; }

std::string header(uint64_t tensors, uint64_t entries, uint32_t version = 3) {
  return "GGUF" + pack(version, tensors, entries);
}

std::string tensor(const std::string& name, const std::vector<int64_t>& ne, int32_t type,
                   uint64_t offset) {
  std::string out = text(name) + pack(static_cast<uint32_t>(ne.size()));
  for (const int64_t n : ne) out += pack(n);
  return out + pack(type, offset);
}

// Head padded to the alignment, then the data section.
std::string with_data(std::string head, std::size_t data_bytes, std::size_t alignment = 32) {
  head.resize((head.size() + alignment - 1) / alignment * alignment);
  return head + std::string(data_bytes, '\0');
}

std::vector<std::pair<std::string, GgufValue>> sample_metadata() {
  GgufValue u8 = GgufValue::u32(200);
  u8.type = GgufType::kU8;
  GgufValue i8 = GgufValue::i32(-5);
  i8.type = GgufType::kI8;
  GgufValue f64 = GgufValue::f32(0.1F);
  f64.type = GgufType::kF64;
  f64.value = 0.1;
  return {{"general.architecture", GgufValue::string("llama")},
          {"a.u8", u8},
          {"a.i8", i8},
          {"a.u32", GgufValue::u32(4000000000U)},
          {"a.i32", GgufValue::i32(-7)},
          {"a.u64", GgufValue::u64(UINT64_MAX)},
          {"a.f32", GgufValue::f32(0.1F)},
          {"a.f64", f64},
          {"a.bool", GgufValue::boolean(true)},
          {"a.strings", GgufValue::strings({"x", "", std::string("\0y", 2)})},
          {"a.i32s", GgufValue::i32s({1, -2, 3})},
          {"a.u32s", GgufValue::u32s({1, 4000000000U})},
          {"a.bools", GgufValue::bools({true, false})},
          {"a.f32s", GgufValue::f32s({0.5F, -2})}};
}

TEST(Gguf, RoundTrips) {
  const TempFolder folder;
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::string q(18 * 3, 'q');  // three rows of one q4_0 block
  auto writer =
      GgufWriter::create(folder / "m.gguf", sample_metadata(),
                         {{"a", {2, 3}, kGgmlF32}, {"scalar", {}, kGgmlF32}, {"q", {3, 32}, 2}});
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  ASSERT_TRUE(writer->write("q", bytes_of(q)).ok());
  ASSERT_TRUE(writer->write("scalar", bytes_of(std::vector<float>{9})).ok());
  ASSERT_TRUE(writer->write("a", bytes_of(a)).ok());
  EXPECT_FALSE(std::filesystem::exists(folder / "m.gguf"));
  ASSERT_TRUE(writer->finish().ok());

  const auto file = GgufFile::open(folder / "m.gguf");
  ASSERT_TRUE(file.ok()) << file.status().message();
  const GgufContent& c = file->content();
  EXPECT_EQ(c.version, 3U);
  EXPECT_EQ(c.alignment, 32U);
  ASSERT_EQ(c.metadata.size(), sample_metadata().size());
  EXPECT_EQ(c.metadata[0].first, "general.architecture");
  EXPECT_EQ(c.find("general.architecture")->as_string(), "llama");
  EXPECT_EQ(c.find("a.u8")->as_int(), 200);
  EXPECT_EQ(c.find("a.i8")->as_int(), -5);
  EXPECT_EQ(c.find("a.u32")->as_int(), 4000000000);
  EXPECT_EQ(c.find("a.i32")->as_int(), -7);
  EXPECT_EQ(c.find("a.u64")->as_int(), std::nullopt);
  EXPECT_EQ(c.find("a.u64")->as_number(), 0x1.0p64);
  EXPECT_EQ(c.find("a.f32")->as_number(), static_cast<double>(0.1F));
  EXPECT_EQ(c.find("a.f64")->as_number(), 0.1);
  EXPECT_EQ(c.find("a.bool")->as_int(), 1);
  EXPECT_EQ(c.find("a.bool")->as_number(), std::nullopt);
  EXPECT_EQ(c.find("a.strings")->as_strings(),
            (std::vector<std::string>{"x", "", std::string("\0y", 2)}));
  EXPECT_EQ(c.find("a.i32s")->as_numbers(), (std::vector<double>{1, -2, 3}));
  EXPECT_EQ(c.find("a.u32s")->as_numbers(), (std::vector<double>{1, 4e9}));
  EXPECT_EQ(c.find("a.bools")->as_numbers(), (std::vector<double>{1, 0}));
  EXPECT_EQ(c.find("a.f32s")->as_numbers(), (std::vector<double>{0.5, -2}));
  EXPECT_EQ(c.find("a.f32s")->as_strings(), std::nullopt);
  EXPECT_EQ(c.find("nothing"), nullptr);
  ASSERT_EQ(c.tensors.size(), 3U);
  EXPECT_EQ(c.tensors[0].name, "a");
  EXPECT_EQ(c.find_tensor("a")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(std::memcmp(c.find_tensor("a")->data.data(), a.data(), 24), 0);
  EXPECT_EQ(c.find_tensor("q")->ggml_type, 2);
  EXPECT_EQ(c.find_tensor("q")->data.size(), q.size());
  EXPECT_EQ(std::memcmp(c.find_tensor("q")->data.data(), q.data(), q.size()), 0);
  EXPECT_THAT(c.find_tensor("scalar")->shape, IsEmpty());
}

// ggml's own reader must agree with ours about a file that we wrote.
TEST(Gguf, GgmlReadsWhatWeWrite) {
  const TempFolder folder;
  auto writer = GgufWriter::create(folder / "m.gguf", sample_metadata(),
                                   {{"a", {2, 3}, kGgmlF32}, {"q", {3, 32}, 2}}, 64);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  ASSERT_TRUE(writer->write("a", bytes_of(std::vector<float>(6, 1.0F))).ok());
  ASSERT_TRUE(writer->write("q", bytes_of(std::string(18 * 3, 'q'))).ok());
  ASSERT_TRUE(writer->finish().ok());
  gguf_context* ctx = gguf_init_from_file((folder / "m.gguf").c_str(), {true, nullptr});
  ASSERT_NE(ctx, nullptr);
  EXPECT_EQ(gguf_get_n_tensors(ctx), 2);
  EXPECT_EQ(gguf_get_n_kv(ctx), static_cast<int64_t>(sample_metadata().size()) + 1);
  EXPECT_EQ(gguf_get_alignment(ctx), 64U);
  EXPECT_EQ(gguf_get_tensor_size(ctx, 1), 54U);
  const auto ours = GgufFile::open(folder / "m.gguf");
  ASSERT_TRUE(ours.ok()) << ours.status().message();
  EXPECT_EQ(ours->content().alignment, 64U);
  EXPECT_EQ(ours->content().tensors[1].data.data() - ours->content().tensors[0].data.data(),
            static_cast<std::ptrdiff_t>(gguf_get_tensor_offset(ctx, 1)));
  gguf_free(ctx);
}

TEST(Gguf, WritingWhatWasReadGivesTheSameBytes) {
  const TempFolder folder;
  const auto write = [&](const std::string& name, const auto& metadata) {
    auto w = GgufWriter::create(folder / name, metadata, {{"a", {2}, kGgmlF16}}, 16);
    ASSERT_TRUE(w.ok());
    ASSERT_TRUE(w->write("a", bytes_of(std::vector<uint16_t>{1, 2})).ok());
    ASSERT_TRUE(w->finish().ok());
  };
  write("one", sample_metadata());
  const auto read = GgufFile::open(folder / "one");
  ASSERT_TRUE(read.ok());
  write("two", read->content().metadata);
  EXPECT_EQ(slurp(folder / "one"), slurp(folder / "two"));
}

TEST(Gguf, ReadsVersion2AndNoTensors) {
  const std::string file = header(0, 1, 2) + text("k") + pack<uint32_t>(4) + pack<uint32_t>(5);
  const auto content = parse_gguf(bytes_of(file), "x");
  ASSERT_TRUE(content.ok()) << content.status().message();
  EXPECT_EQ(content->find("k")->as_int(), 5);
}

TEST(Gguf, TensorsMayLieInAnyOrder) {
  const std::string file =
      with_data(header(2, 0) + tensor("a", {1}, 0, 32) + tensor("b", {1}, 0, 0), 36);
  const auto content = parse_gguf(bytes_of(file), "x");
  ASSERT_TRUE(content.ok()) << content.status().message();
  EXPECT_EQ(content->tensors[0].name, "a");
}

std::string entry(const std::string& key, uint32_t type, const std::string& value) {
  return text(key) + pack(type) + value;
}

class BadGguf : public ::testing::TestWithParam<Bad> {};

TEST_P(BadGguf, IsRefusedWithTheFilesName) {
  const auto content = parse_gguf(bytes_of(GetParam().bytes), "dir/model.gguf");
  ASSERT_FALSE(content.ok());
  EXPECT_THAT(content.status().message(), HasSubstr("dir/model.gguf"));
  EXPECT_THAT(content.status().message(), HasSubstr(GetParam().message));
}

constexpr int64_t kHuge = int64_t{1} << 40;

INSTANTIATE_TEST_SUITE_P(
    Cases, BadGguf,
    ::testing::Values(
        Bad{"Empty", "", "not a GGUF file"},
        Bad{"Magic", "GGUX" + std::string(100, '\0'), "not a GGUF file"},
        Bad{"HeaderCut", "GGUF" + pack<uint32_t>(3) + "abc", "past the end of the file"},
        Bad{"Version1", header(0, 0, 1), "GGUF version 1 is not supported"},
        Bad{"Version9", header(0, 0, 9), "GGUF version 9 is not supported"},
        Bad{"BigEndian", header(0, 0, 0x03000000), "big-endian"},
        Bad{"EntryCountHuge", header(0, UINT64_MAX), "metadata entries reaches past the end"},
        Bad{"EntriesBeyondTheLimit", header(0, 16385) + std::string(16385 * 13, '\0'),
            "16385 metadata entries are more than the 16384 allowed"},
        Bad{"TensorCountHuge", header(UINT64_MAX, 0), "tensors reaches past the end"},
        Bad{"KeyLengthHuge", header(0, 1) + pack<uint64_t>(UINT64_MAX) + std::string(20, 'k'),
            "metadata entry 0 reaches past the end"},
        Bad{"StringPastEnd", header(0, 1) + entry("k", 8, pack<uint64_t>(100) + "abc"),
            "metadata 'k' reaches past the end"},
        Bad{"ScalarCut", header(0, 1) + entry("key", 10, "1234"),
            "metadata 'key' reaches past the end"},
        Bad{"UnknownType", header(0, 1) + entry("k", 13, pack<uint64_t>(0)),
            "metadata 'k' has the unknown value type 13"},
        Bad{"ArrayCountPastEnd",
            header(0, 1) + entry("k", 9, pack<uint32_t>(4) + pack<uint64_t>(9)),
            "metadata 'k' reaches past the end"},
        Bad{"ArrayCountOverflow",
            header(0, 1) + entry("k", 9, pack<uint32_t>(10) + pack<uint64_t>(1ULL << 61)),
            "metadata 'k' reaches past the end"},
        Bad{"StringArrayCountHuge",
            header(0, 1) + entry("k", 9, pack<uint32_t>(8) + pack<uint64_t>(UINT64_MAX)),
            "metadata 'k' reaches past the end"},
        Bad{"StringInArrayPastEnd",
            header(0, 1) +
                entry("k", 9, pack<uint32_t>(8) + pack<uint64_t>(1) + pack<uint64_t>(99)),
            "metadata 'k' reaches past the end"},
        Bad{"ArrayOfArrays",
            header(0, 1) + entry("k", 9,
                                 pack<uint32_t>(9) + pack<uint64_t>(1) + pack<uint32_t>(4) +
                                     pack<uint64_t>(0)),
            "array of arrays"},
        Bad{"ArrayElementUnknown",
            header(0, 1) + entry("k", 9, pack<uint32_t>(77) + pack<uint64_t>(1) + "12345678"),
            "unknown type 77"},
        Bad{"KeyTwice",
            header(0, 2) + entry("k", 4, pack<uint32_t>(0)) + entry("k", 4, pack<uint32_t>(0)),
            "'k' appears twice"},
        Bad{"AlignmentZero", header(0, 1) + entry("general.alignment", 4, pack<uint32_t>(0)),
            "not a power of two"},
        Bad{"AlignmentOdd", header(0, 1) + entry("general.alignment", 4, pack<uint32_t>(24)),
            "not a power of two"},
        Bad{"AlignmentNegative", header(0, 1) + entry("general.alignment", 5, pack<int32_t>(-32)),
            "not a power of two"},
        Bad{"AlignmentText", header(0, 1) + entry("general.alignment", 8, text("32")),
            "not a power of two"},
        Bad{"TensorNamePastEnd", header(1, 0) + pack<uint64_t>(99) + std::string(30, 'n'),
            "tensor 0 reaches past the end"},
        Bad{"TensorCut",
            header(1, 0) + tensor("some tensor name", {1, 2, 3, 4}, 0, 0).substr(0, 50),
            "tensor 'some tensor name' reaches past the end"},
        Bad{"FiveDims", with_data(header(1, 0) + tensor("t", {1, 1, 1, 1, 1}, 0, 0), 4),
            "tensor 't' has 5 dimensions"},
        Bad{"NegativeDim", with_data(header(1, 0) + tensor("t", {-1}, 0, 0), 4),
            "tensor 't' has a negative dimension"},
        Bad{"ShapeOverflow", with_data(header(1, 0) + tensor("t", {kHuge, kHuge}, 0, 0), 4),
            "tensor 't' has a shape too large"},
        Bad{"RowsOverflow", with_data(header(1, 0) + tensor("t", {0, kHuge, kHuge}, 0, 0), 4),
            "tensor 't' has a shape too large"},
        Bad{"ElementsOverflow",  // 2^61 blocks of 32 elements would be more than 2^64 elements
            with_data(header(1, 0) + tensor("t", {32, int64_t{1} << 59}, 2, 0), 4),
            "tensor 't' has a shape too large"},
        Bad{"UnknownGgmlType", with_data(header(1, 0) + tensor("t", {32}, 999, 0), 128),
            "tensor 't' has the unknown ggml type 999"},
        Bad{"NegativeGgmlType", with_data(header(1, 0) + tensor("t", {32}, -1, 0), 128),
            "tensor 't' has the unknown ggml type -1"},
        Bad{"RemovedGgmlType", with_data(header(1, 0) + tensor("t", {32}, 4, 0), 128),
            "tensor 't' has the unknown ggml type 4"},
        Bad{"PartOfABlock", with_data(header(1, 0) + tensor("t", {33}, 2, 0), 128),
            "tensor 't' has rows of 33 elements"},
        Bad{"OffsetUnaligned", with_data(header(1, 0) + tensor("t", {1}, 0, 4), 128),
            "not a multiple of 32"},
        Bad{"OffsetPastEnd", with_data(header(1, 0) + tensor("t", {1}, 0, 128), 128),
            "tensor 't' reaches past the end"},
        Bad{"OffsetOverflow", with_data(header(1, 0) + tensor("t", {16}, 0, 0 - 32ULL), 128),
            "tensor 't' reaches past the end"},
        Bad{"DataCut", with_data(header(1, 0) + tensor("t", {16}, 0, 0), 63),
            "tensor 't' reaches past the end"},
        Bad{"DataMissing", header(1, 0) + tensor("t", {16}, 0, 0), "reaches past the end"},
        Bad{"Overlap",
            with_data(header(2, 0) + tensor("t", {16}, 0, 0) + tensor("u", {16}, 0, 32), 128),
            "tensors 't' and 'u' overlap"},
        Bad{"SameBytes",
            with_data(header(2, 0) + tensor("t", {8}, 0, 0) + tensor("u", {8}, 0, 0), 128),
            "overlap"},
        Bad{"NameTwice",
            with_data(header(2, 0) + tensor("t", {8}, 0, 0) + tensor("t", {8}, 0, 32), 128),
            "tensor 't' appears twice"}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(Gguf, EveryPrefixIsAnError) {
  const std::string whole =
      with_data(header(1, 2) + entry("k", 8, text("v")) +
                    entry("a", 9, pack<uint32_t>(8) + pack<uint64_t>(2) + text("x") + text("y")) +
                    tensor("t", {8}, 0, 0),
                32);
  ASSERT_TRUE(parse_gguf(bytes_of(whole), "x").ok());
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_FALSE(parse_gguf(bytes_of(whole).first(n), "x").ok()) << n;
  }
}

TEST(GgufFile, OpenErrorsNameThePath) {
  const TempFolder folder;
  EXPECT_THAT(GgufFile::open(folder / "none.gguf").status().message(),
              HasSubstr((folder / "none.gguf").string()));
  spill(folder / "bad.gguf", "nope");
  EXPECT_THAT(GgufFile::open(folder / "bad.gguf").status().message(),
              HasSubstr((folder / "bad.gguf").string()));
}

TEST(GgufWriter, StringsCanBeSetLater) {
  const TempFolder folder;
  auto writer = GgufWriter::create(
      folder / "m", {{"a", GgufValue::u32(7)}, {"b", GgufValue::string("....")}}, {});
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->set_string("b", "text").ok());
  EXPECT_FALSE(writer->set_string("b", "longer").ok());
  EXPECT_FALSE(writer->set_string("a", "text").ok());
  EXPECT_FALSE(writer->set_string("c", "text").ok());
  EXPECT_TRUE(GgufFile::open(writer->work_path()).ok());
  ASSERT_TRUE(writer->finish().ok());
  EXPECT_EQ(GgufFile::open(folder / "m")->content().find("b")->as_string(), "text");
}

TEST(GgufWriter, MisuseIsAnError) {
  const TempFolder folder;
  const auto refused = [&](std::vector<GgufWriter::Declaration> tensors, uint64_t alignment = 32) {
    return GgufWriter::create(folder / "n", {}, std::move(tensors), alignment).status().message();
  };
  EXPECT_THAT(refused({{"a", {1}, 999}}), HasSubstr("'a' has the unknown ggml type 999"));
  EXPECT_THAT(refused({{"a", {33}, 2}}), HasSubstr("blocks of 32"));
  EXPECT_THAT(refused({{"a", {1, 1, 1, 1, 1}, 0}}), HasSubstr("at most 4"));
  EXPECT_THAT(refused({{"a", {-1, 1}, 0}}), HasSubstr("impossible shape"));
  EXPECT_THAT(refused({{"a", {kHuge, kHuge}, 0}}), HasSubstr("impossible shape"));
  EXPECT_THAT(refused({{"a", {1}, 0}, {"a", {1}, 0}}), HasSubstr("'a' would appear twice"));
  EXPECT_THAT(refused({{std::string(64, 'n'), {1}, 0}}), HasSubstr("longer than the 63 bytes"));
  EXPECT_THAT(refused({}, 24), HasSubstr("not a power of two"));
  EXPECT_FALSE(
      GgufWriter::create(folder / "n", {{"k", GgufValue::u32(1)}, {"k", GgufValue::u32(1)}}, {})
          .ok());

  auto writer = GgufWriter::create(folder / "m", {}, {{"a", {1}, kGgmlF32}});
  ASSERT_TRUE(writer.ok());
  EXPECT_THAT(writer->write("b", {}).message(), HasSubstr("'b' was not declared"));
  EXPECT_THAT(writer->write("a", {}).message(), HasSubstr("needs 4 bytes, not 0"));
  EXPECT_THAT(writer->finish().message(), HasSubstr("'a' was never written"));
}

TEST(GgufWriter, UnfinishedFileIsRemoved) {
  const TempFolder folder;
  { ASSERT_TRUE(GgufWriter::create(folder / "m", {}, {{"a", {1}, kGgmlF32}}).ok()); }
  EXPECT_THAT(folder.names(), IsEmpty());
}

}  // namespace
}  // namespace coldpress
