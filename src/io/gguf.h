// The GGUF container (v2 and v3, little-endian), read and written without trusting a single byte:
// counts and lengths are checked against the file's size before anything is allocated. A file may
// have at most 16384 metadata entries (real ones have under a hundred).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"
#include "io/file.h"

namespace coldpress {

inline constexpr uint32_t kMostGgufDims = 4;

// GGUF value type ids, as in the file.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

struct GgufValue;

// An array keeps the raw little-endian bytes of fixed-size elements, or the strings.
struct GgufArray {
  GgufType element = GgufType::kU8;
  uint64_t count = 0;
  std::vector<std::byte> raw;        // fixed-size elements
  std::vector<std::string> strings;  // element == kString
};

struct GgufValue {
  GgufType type = GgufType::kU32;
  // bool and all integers: int64_t (u64 above int64 max is kept by bit pattern); f32/f64: double.
  std::variant<int64_t, double, std::string, GgufArray> value;

  static GgufValue u32(uint32_t v);
  static GgufValue i32(int32_t v);
  static GgufValue u64(uint64_t v);
  static GgufValue f32(float v);
  static GgufValue boolean(bool v);
  static GgufValue string(std::string v);
  static GgufValue strings(std::vector<std::string> v);
  static GgufValue i32s(const std::vector<int32_t>& v);
  static GgufValue u32s(const std::vector<uint32_t>& v);
  static GgufValue u8s(const std::vector<uint8_t>& v);
  static GgufValue bools(const std::vector<bool>& v);
  static GgufValue f32s(const std::vector<float>& v);

  std::optional<int64_t> as_int() const;    // integers and bool
  std::optional<double> as_number() const;  // any number
  std::optional<std::string> as_string() const;
  std::optional<std::vector<std::string>> as_strings() const;
  std::optional<std::vector<double>> as_numbers() const;  // array of any numbers or bools
};

struct GgufTensor {
  std::string name;
  std::vector<int64_t> shape;  // row-major (GGUF's `ne` reversed): shape.back() is contiguous
  int32_t ggml_type = 0;       // ggml type id; see io/ggml_codec.h
  std::span<const std::byte> data;
};

struct GgufContent {
  uint32_t version = 3;
  uint64_t alignment = 32;
  std::vector<std::pair<std::string, GgufValue>> metadata;  // in file order, keys unique
  std::vector<GgufTensor> tensors;                          // in file order, names unique

  const GgufValue* find(const std::string& key) const;
  const GgufTensor* find_tensor(const std::string& name) const;
};

Result<GgufContent> parse_gguf(std::span<const std::byte> bytes, const std::string& where);

// A model in one file, or in several (io/gguf_split.h): any of them opens all.
class GgufFile {
 public:
  static Result<GgufFile> open(const std::filesystem::path& path);
  const GgufContent& content() const { return content_; }
  const std::filesystem::path& path() const { return path_; }  // as given to open()

 private:
  GgufFile(std::filesystem::path path, std::vector<MappedFile> files, GgufContent content)
      : path_(std::move(path)), files_(std::move(files)), content_(std::move(content)) {}
  std::filesystem::path path_;
  std::vector<MappedFile> files_;
  GgufContent content_;
};

// Writes a GGUF v3 file whose tensors are declared first and filled in any order.
class GgufWriter {
 public:
  struct Declaration {
    std::string name;
    std::vector<int64_t> shape;  // row-major
    int32_t ggml_type = 0;
  };
  static Result<GgufWriter> create(const std::filesystem::path& path,
                                   const std::vector<std::pair<std::string, GgufValue>>& metadata,
                                   std::vector<Declaration> tensors, uint64_t alignment = 32);
  GgufWriter(GgufWriter&&) noexcept;
  GgufWriter& operator=(GgufWriter&&) noexcept;
  ~GgufWriter();
  Status write(const std::string& name, std::span<const std::byte> data);
  // Replaces a string of the metadata, in place: `text` must be as long as the declared one.
  Status set_string(const std::string& key, std::string_view text);
  const std::filesystem::path& work_path() const;  // where the bytes are until finish()
  Status finish();

 private:
  struct State;
  explicit GgufWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace coldpress
