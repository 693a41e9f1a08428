#include "pipeline/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <span>
#include <system_error>

#include "base/hash.h"
#include "io/file.h"
#include "io/json.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShort = 24;  // no hashes

// By name, without folders and hidden files.
Result<std::set<std::string>> files_of(const Model& model, const fs::path& out) {
  std::set<std::string> names;
  if (model.is_gguf()) {
    names.insert(model.path().filename().string());
    for (const SourceTensor& tensor : model.tensors()) {
      if (!tensor.shard.empty()) names.insert(tensor.shard);
    }
    return names;
  }
  const fs::path target = without_trailing_slash(out);
  const std::string own = target.filename().string();
  std::error_code error;
  const bool is_among_them =
      fs::equivalent(model.path(), fs::absolute(target, error).parent_path(), error);
  error.clear();
  for (const fs::directory_entry& entry : fs::directory_iterator(model.path(), error)) {
    const std::string name = entry.path().filename().string();
    std::error_code unreadable;
    if (name.starts_with('.') || !entry.is_regular_file(unreadable)) continue;
    if (is_among_them && name.starts_with(own)) continue;
    names.insert(name);
  }
  if (error) return io_error("cannot list " + model.path().string() + ": " + error.message());
  return names;
}

}  // namespace

void Fingerprint::add(std::string field, std::string value) {
  fields_.emplace_back(std::move(field), std::move(value));
}

void Fingerprint::add_json(const std::string& field, const Json& json) {
  const Json flat = json.flatten();
  for (const auto& [path, value] : flat.items()) {
    add(field + " " + path, value.is_string() ? value.get<std::string>() : value.dump());
  }
}

Status Fingerprint::add_model(const Model& model, const fs::path& out) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::set<std::string> names, files_of(model, out));
  const fs::path folder = model.is_gguf() ? model.path().parent_path() : model.path();
  for (const std::string& name : names) {
    COLDPRESS_ASSIGN_OR_RETURN(std::string hash, hash_file(folder / name));
    add("model file " + name, std::move(hash));
  }
  return {};
}

void Fingerprint::add_windows(const CalibrationWindows& windows) {
  const auto bytes = std::as_bytes(std::span(windows.tokens));
  add("calibration windows",
      fmt::format("{} x {} {}", windows.count(), windows.length,
                  xxh3_128_hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()})));
}

const std::string* Fingerprint::find(const std::string& field) const {
  const auto at = std::ranges::find(fields_, field, &std::pair<std::string, std::string>::first);
  return at == fields_.end() ? nullptr : &at->second;
}

std::string Fingerprint::difference(const Fingerprint& now) const {
  const auto say = [](const std::string& field, const std::string* before,
                      const std::string* after) {
    if (before == nullptr) return fmt::format("{} is new", field);
    if (after == nullptr) return fmt::format("{} was there then", field);
    if (before->size() > kShort || after->size() > kShort) {
      return fmt::format("{} has changed", field);
    }
    return fmt::format("{} was {} and is {} now", field, *before, *after);
  };
  for (const auto& [field, value] : now.fields_) {
    const std::string* before = find(field);
    if (before == nullptr || *before != value) return say(field, before, &value);
  }
  for (const auto& [field, value] : fields_) {
    if (now.find(field) == nullptr) return say(field, &value, nullptr);
  }
  return {};
}

std::string Fingerprint::text() const {
  Json json = Json::array();
  for (const auto& [field, value] : fields_) json.push_back(Json::array({field, value}));
  // Names of files need not be UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Fingerprint> Fingerprint::parse(const std::string& text, const std::string& where) {
  COLDPRESS_ASSIGN_OR_RETURN(const Json json, parse_json(text, where));
  Fingerprint fingerprint;
  for (const Json& field : json) {
    if (!field.is_array() || field.size() != 2 || !field[0].is_string() || !field[1].is_string()) {
      return corrupt(where + ": the record of what the run is made of is damaged");
    }
    fingerprint.add(field[0].get<std::string>(), field[1].get<std::string>());
  }
  return fingerprint;
}

}  // namespace coldpress
