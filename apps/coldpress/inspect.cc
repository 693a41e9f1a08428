// coldpress inspect: what a model or a tensor file holds. Reads metadata only.
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/json.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "terminal.h"
#include "verbs.h"

namespace coldpress::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExamples =
    "coldpress inspect Llama-3.2-1B\n"
    "coldpress inspect model.gguf --json\n"
    "coldpress inspect Llama-3.2-1B/model.safetensors";

struct Row {
  std::string name;
  std::string type;
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
  std::string role;  // "" for tensors that are not quantised
};

struct Contents {
  Json about = Json::object();  // in the order to print
  std::vector<Row> rows;
};

Json describe(const ModelConfig& config) {
  Json about;
  about["architecture"] = config.architecture;
  about["blocks"] = config.blocks;
  about["hidden"] = config.hidden;
  about["heads"] = config.heads;
  about["kv_heads"] = config.kv_heads;
  about["head_dim"] = config.head_dim;
  about["ffn"] = config.ffn;
  about["vocab"] = config.vocab;
  about["context"] = config.context;
  about["tied_embeddings"] = config.tied_embeddings;
  return about;
}

Result<Contents> read_tensor_file(const fs::path& path) {
  COLDPRESS_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::open(path));
  Contents contents;
  contents.about["format"] = "safetensors file";
  for (const auto& [key, value] : file.content().metadata) contents.about[key] = value;
  for (const SafetensorsInfo& tensor : file.content().tensors) {
    contents.rows.push_back(
        {tensor.name, std::string(dtype_name(tensor.dtype)), tensor.shape, tensor.data.size(), ""});
  }
  return contents;
}

Result<Contents> read_model(const fs::path& path) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, Model::open(path));
  Contents contents;
  contents.about["format"] = model->is_gguf() ? "GGUF model" : "Hugging Face model";
  contents.about.update(describe(model->config()));
  contents.about["already_quantised"] = model->source_is_quantised();
  std::map<std::string, std::string> roles;
  for (int block = 0; block < model->config().blocks; ++block) {
    for (const Tap& tap : model->taps(block)) {
      for (const LinearRef& linear : tap.linears) roles[linear.tensor_name] = linear.role;
    }
  }
  for (const SourceTensor& tensor : model->tensors()) {
    const auto role = roles.find(tensor.name);
    contents.rows.push_back({tensor.name, tensor.type, tensor.shape, tensor.data.size(),
                             role == roles.end() ? "" : role->second});
  }
  return contents;
}

uint64_t elements(const std::vector<int64_t>& shape) {
  uint64_t n = 1;
  for (const int64_t extent : shape) n *= static_cast<uint64_t>(extent);
  return n;
}

struct Total {
  uint64_t tensors = 0;
  uint64_t parameters = 0;
  uint64_t bytes = 0;

  void add(const Row& row) {
    ++tensors;
    parameters += elements(row.shape);
    bytes += row.bytes;
  }
};

void print_json(const fs::path& path, const Contents& contents, const Total& all) {
  Json json;
  json["path"] = path.string();
  json["about"] = contents.about;
  json["tensors"] = Json::array();
  for (const Row& row : contents.rows) {
    Json entry;
    entry["name"] = row.name;
    entry["type"] = row.type;
    entry["shape"] = row.shape;
    entry["bytes"] = row.bytes;
    if (!row.role.empty()) entry["role"] = row.role;
    json["tensors"].push_back(std::move(entry));
  }
  json["totals"] = {{"tensors", all.tensors}, {"parameters", all.parameters}, {"bytes", all.bytes}};
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_text(const Contents& contents, const std::map<std::string, Total>& by_type,
                const Total& all) {
  for (const auto& [key, value] : contents.about.items()) {
    fmt::print("{}: {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  }
  std::vector<std::vector<std::string>> table = {{"tensor", "type", "shape", "bytes", "linear"}};
  for (const Row& row : contents.rows) {
    table.push_back(
        {row.name, row.type, shape_text(row.shape), fmt::format("{}", row.bytes), row.role});
  }
  fmt::print("\n{}\n", text_table(table));
  std::vector<std::vector<std::string>> totals = {{"type", "tensors", "parameters", "bytes"}};
  const auto add = [&totals](const std::string& name, const Total& total) {
    totals.push_back({name, fmt::format("{}", total.tensors), fmt::format("{}", total.parameters),
                      human_bytes(static_cast<double>(total.bytes))});
  };
  for (const auto& [type, total] : by_type) add(type, total);
  add("all", all);
  fmt::print("{}", text_table(totals));
}

Status run_inspect(const fs::path& path, bool json) {
  const bool tensor_file = path.extension() == ".safetensors";
  COLDPRESS_ASSIGN_OR_RETURN(const Contents contents,
                             tensor_file ? read_tensor_file(path) : read_model(path));
  Total all;
  std::map<std::string, Total> by_type;
  for (const Row& row : contents.rows) {
    all.add(row);
    by_type[row.type].add(row);
  }
  if (json) {
    print_json(path, contents, all);
  } else {
    print_text(contents, by_type, all);
  }
  return {};
}

}  // namespace

void add_inspect(CLI::App& app, Run& run) {
  struct Options {
    std::string path;
    bool json = false;
  };
  CLI::App* verb = add_verb(
      app, "inspect", "Show a model's configuration, its tensors and their totals", kExamples);
  auto options = std::make_shared<Options>();
  verb->add_option("MODEL", options->path,
                   "Hugging Face folder, .gguf file or single .safetensors file")
      ->required();
  verb->add_flag("--json", options->json, "Print JSON for machines");
  verb->callback(
      [=, &run] { run = [options] { return run_inspect(options->path, options->json); }; });
}

}  // namespace coldpress::cli
