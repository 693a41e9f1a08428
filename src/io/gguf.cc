#include "io/gguf.h"

#include <cstring>
#include <limits>

namespace coldpress {
namespace {

template <typename T>
GgufValue fixed_array(GgufType element, const std::vector<T>& values) {
  GgufArray array;
  array.element = element;
  array.count = values.size();
  array.raw.resize(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(array.raw.data(), values.data(), array.raw.size());
  return {GgufType::kArray, std::move(array)};
}

template <typename T>
std::vector<double> widen(const GgufArray& array) {
  std::vector<double> out(array.count);
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, array.raw.data() + i * sizeof(T), sizeof(T));
    out[i] = static_cast<double>(value);
  }
  return out;
}

}  // namespace

GgufValue GgufValue::u32(uint32_t v) { return {GgufType::kU32, static_cast<int64_t>(v)}; }
GgufValue GgufValue::i32(int32_t v) { return {GgufType::kI32, static_cast<int64_t>(v)}; }
GgufValue GgufValue::u64(uint64_t v) { return {GgufType::kU64, static_cast<int64_t>(v)}; }
GgufValue GgufValue::f32(float v) { return {GgufType::kF32, static_cast<double>(v)}; }
GgufValue GgufValue::boolean(bool v) { return {GgufType::kBool, static_cast<int64_t>(v)}; }
GgufValue GgufValue::string(std::string v) { return {GgufType::kString, std::move(v)}; }

GgufValue GgufValue::strings(std::vector<std::string> v) {
  GgufArray array;
  array.element = GgufType::kString;
  array.count = v.size();
  array.strings = std::move(v);
  return {GgufType::kArray, std::move(array)};
}

GgufValue GgufValue::i32s(const std::vector<int32_t>& v) { return fixed_array(GgufType::kI32, v); }
GgufValue GgufValue::u32s(const std::vector<uint32_t>& v) { return fixed_array(GgufType::kU32, v); }
GgufValue GgufValue::f32s(const std::vector<float>& v) { return fixed_array(GgufType::kF32, v); }
GgufValue GgufValue::u8s(const std::vector<uint8_t>& v) { return fixed_array(GgufType::kU8, v); }
GgufValue GgufValue::bools(const std::vector<bool>& v) {
  return fixed_array(GgufType::kBool, std::vector<uint8_t>(v.begin(), v.end()));
}

std::optional<int64_t> GgufValue::as_int() const {
  const auto* v = std::get_if<int64_t>(&value);
  if (v == nullptr) return std::nullopt;
  if (type == GgufType::kU64 && *v < 0) return std::nullopt;  // above int64's range
  return *v;
}

std::optional<double> GgufValue::as_number() const {
  if (const auto* d = std::get_if<double>(&value)) return *d;
  const auto* v = std::get_if<int64_t>(&value);
  if (v == nullptr || type == GgufType::kBool) return std::nullopt;
  if (type == GgufType::kU64) return static_cast<double>(static_cast<uint64_t>(*v));
  return static_cast<double>(*v);
}

std::optional<std::string> GgufValue::as_string() const {
  const auto* v = std::get_if<std::string>(&value);
  return v == nullptr ? std::nullopt : std::optional<std::string>(*v);
}

std::optional<std::vector<std::string>> GgufValue::as_strings() const {
  const auto* v = std::get_if<GgufArray>(&value);
  if (v == nullptr || v->element != GgufType::kString) return std::nullopt;
  return v->strings;
}

std::optional<std::vector<double>> GgufValue::as_numbers() const {
  const auto* v = std::get_if<GgufArray>(&value);
  if (v == nullptr) return std::nullopt;
  switch (v->element) {
    case GgufType::kU8:
    case GgufType::kBool:
      return widen<uint8_t>(*v);
    case GgufType::kI8:
      return widen<int8_t>(*v);
    case GgufType::kU16:
      return widen<uint16_t>(*v);
    case GgufType::kI16:
      return widen<int16_t>(*v);
    case GgufType::kU32:
      return widen<uint32_t>(*v);
    case GgufType::kI32:
      return widen<int32_t>(*v);
    case GgufType::kF32:
      return widen<float>(*v);
    case GgufType::kU64:
      return widen<uint64_t>(*v);
    case GgufType::kI64:
      return widen<int64_t>(*v);
    case GgufType::kF64:
      return widen<double>(*v);
    case GgufType::kString:
    case GgufType::kArray:
      return std::nullopt;
  }
  return std::nullopt;
}

const GgufValue* GgufContent::find(const std::string& key) const {
  for (const auto& [name, value] : metadata) {
    if (name == key) return &value;
  }
  return nullptr;
}

const GgufTensor* GgufContent::find_tensor(const std::string& name) const {
  for (const GgufTensor& tensor : tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

}  // namespace coldpress
