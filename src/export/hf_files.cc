#include "export/hf_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "io/file.h"
#include "io/json.h"
#include "model/parse_config.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

bool holds_weights(const std::string& name) {
  for (const std::string_view suffix :
       {".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth",
        ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".ot"}) {
    if (name.ends_with(suffix)) return true;
  }
  return false;
}

bool describes_packing(const std::string& name) {
  return name == "quantize_config.json" || name == "quant_config.json" ||
         name == "hf_quant_config.json";
}

std::string_view torch_name(DType type) {
  if (type == DType::kF16) return "float16";
  return type == DType::kBF16 ? "bfloat16" : "float32";
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// If a key `name` of the JSON text starts at `at` and its value is a string, that string's place.
struct Slice {
  std::size_t begin = 0;
  std::size_t end = 0;
};
bool string_value_of(const std::string& text, std::size_t at, std::string_view name, Slice& value) {
  if (at > 0 && text[at - 1] == '\\') return false;  // inside another string
  std::size_t i = at + name.size();
  while (i < text.size() && is_space(text[i])) ++i;
  if (i == text.size() || text[i] != ':') return false;
  ++i;
  while (i < text.size() && is_space(text[i])) ++i;
  if (i == text.size() || text[i] != '"') return false;
  value.begin = i + 1;
  value.end = text.find('"', value.begin);
  return value.end != std::string::npos;
}

// config.json's text where it agrees with `config`, else edited.
Result<std::string> with_facts(std::string text, const ModelConfig& config,
                               const std::string& where) {
  COLDPRESS_ASSIGN_OR_RETURN(const ModelConfig said, parse_hf_config(text, where));
  const bool untied = said.tied_embeddings && !config.tied_embeddings;
  if (!untied && said.online == config.online) return text;
  COLDPRESS_ASSIGN_OR_RETURN(Json json, parse_json(text, where));
  if (untied) {
    json["tie_word_embeddings"] = false;
    for (auto& [key, value] : json.items()) {  // of a language model inside a larger one
      if (value.is_object() && value.contains("tie_word_embeddings")) {
        value["tie_word_embeddings"] = false;
      }
    }
  }
  put_online_parts(config.online, json);
  return json.dump(2) + "\n";
}

}  // namespace

void put_online_parts(const OnlineParts& online, Json& config) {
  if (online.empty()) return;
  config[kOnlineKey] = online_to_json(online);
  if (!online.are_needed()) return;
  const auto mark = [](Json& family) {
    if (!family.is_string()) return;
    family = kOnlineMark + without_online_mark(family.get<std::string>());
  };
  if (config.contains("model_type")) mark(config["model_type"]);
  if (!config.contains("architectures") || !config["architectures"].is_array()) return;
  for (Json& name : config["architectures"]) mark(name);
}

std::string with_dtype(std::string config, DType dense_type) {
  const std::string wanted(torch_name(dense_type));
  for (const std::string_view key : {"\"dtype\"", "\"torch_dtype\""}) {
    for (std::size_t at = config.find(key); at != std::string::npos;
         at = config.find(key, at + key.size())) {
      Slice value;
      if (!string_value_of(config, at, key, value)) continue;
      config.replace(value.begin, value.end - value.begin, wanted);
    }
  }
  return config;
}

Result<std::string> without_packing(const std::string& config, const std::string& where) {
  COLDPRESS_ASSIGN_OR_RETURN(Json json, parse_json(config, where));
  if (!json.is_object() || json.erase("quantization_config") == 0) return config;
  return json.dump(2) + "\n";
}

Result<std::string> with_packing(std::string config, const Json& settings,
                                 const std::string& where) {
  COLDPRESS_ASSIGN_OR_RETURN(Json json, parse_json(config, where));
  COLDPRESS_CHECK(json.is_object() && !json.contains("quantization_config"));
  config.resize(config.rfind('}'));
  while (!config.empty() && is_space(config.back())) config.pop_back();
  if (!json.empty()) config += ',';
  std::string text = settings.dump(2);
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 3)) {
    text.insert(at + 1, "  ");
  }
  config += "\n  \"quantization_config\": " + text + "\n}\n";
  json["quantization_config"] = settings;
  COLDPRESS_CHECK(Json::parse(config) == json);
  return config;
}

std::string make_hf_index(uint64_t total_bytes,
                          const std::map<std::string, std::string>& shard_of) {
  return Json{{"metadata", {{"total_size", total_bytes}}}, {"weight_map", shard_of}}.dump(2) + "\n";
}

Status copy_hf_sidecars(const fs::path& source, const fs::path& target, DType dense_type,
                        bool was_packed, const ModelConfig& config) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator it(source, error), end; !error && it != end; it.increment(error)) {
    std::error_code unreadable;
    if (it->is_regular_file(unreadable)) files.push_back(it->path());
  }
  if (error) return io_error(fmt::format("cannot list {}: {}", source.string(), error.message()));
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    const std::string name = file.filename().string();
    if (holds_weights(name) || name == kManifestFile) continue;
    if (was_packed && describes_packing(name)) continue;
    if (name == "config.json") {
      COLDPRESS_ASSIGN_OR_RETURN(std::string text, read_text_file(file));
      if (was_packed) {
        COLDPRESS_ASSIGN_OR_RETURN(text, without_packing(text, file.string()));
      }
      COLDPRESS_ASSIGN_OR_RETURN(text, with_facts(std::move(text), config, file.string()));
      COLDPRESS_RETURN_IF_ERROR(
          write_text_file(target / name, with_dtype(std::move(text), dense_type)));
    } else {
      COLDPRESS_RETURN_IF_ERROR(copy_file_exact(file, target / name));
    }
  }
  return {};
}

Status copy_hf_index(const fs::path& source, const fs::path& target, uint64_t total_bytes,
                     const std::map<std::string, std::string>& shard_of) {
  const fs::path path = source / kIndexFile;
  COLDPRESS_ASSIGN_OR_RETURN(const std::string text, read_text_file(path));
  COLDPRESS_ASSIGN_OR_RETURN(Json index, parse_json(text, path.string()));
  bool same = true;
  const auto metadata = index.find("metadata");
  if (metadata != index.end() && metadata->is_object() && metadata->contains("total_size") &&
      (*metadata)["total_size"] != total_bytes) {
    (*metadata)["total_size"] = total_bytes;
    same = false;
  }
  if (index["weight_map"].get<std::map<std::string, std::string>>() != shard_of) {
    index["weight_map"] = shard_of;
    same = false;
  }
  if (same) return write_text_file(target / kIndexFile, text);
  return write_text_file(target / kIndexFile, index.dump(2) + "\n");
}

}  // namespace coldpress
