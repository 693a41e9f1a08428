// compare_ids MODEL.gguf REFERENCE: exit code 0 if coldpress's ids equal those in
// REFERENCE/ids.json (make_smollm2_ids.py), from the GGUF file and from REFERENCE/hf alike.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <vector>

#include "io/file.h"
#include "io/json.h"
#include "tokenizer/tokenizer.h"

namespace coldpress {
namespace {

Status compare(const std::filesystem::path& source, const Json& reference) {
  COLDPRESS_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::open(source));
  for (const Json& entry : reference.at("texts")) {
    const auto path = entry.at("path").get<std::string>();
    COLDPRESS_ASSIGN_OR_RETURN(const std::string text, read_text_file(path));
    const auto bytes = entry.at("bytes").get<std::size_t>();
    const auto expected = entry.at("ids").get<std::vector<int32_t>>();
    COLDPRESS_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                               tokenizer->encode(std::string_view(text).substr(0, bytes)));
    if (ids != expected) {
      std::size_t at = 0;
      while (at < ids.size() && at < expected.size() && ids[at] == expected[at]) ++at;
      return corrupt(fmt::format("{}: {} ids for {}, transformers {}; first difference at {}",
                                 source.string(), ids.size(), path, expected.size(), at));
    }
    fmt::print("{} ({}): {} equal ids for {} bytes of {}\n", source.filename().string(),
               tokenizer->describe(), ids.size(), bytes, path);
  }
  return {};
}

int run(const std::filesystem::path& model, const std::filesystem::path& reference) {
  const auto json = read_json_file(reference / "ids.json");
  Status status = json.status();
  if (json.ok()) status = compare(model, *json);
  if (status.ok()) status = compare(reference / "hf", *json);
  if (!status.ok()) fmt::print(stderr, "{}\n", status.message());
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace coldpress

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: compare_ids MODEL.gguf REFERENCE\n");
    return 2;
  }
  return coldpress::run(argv[1], argv[2]);
}
