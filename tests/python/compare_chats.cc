// compare_chats TEXTS.json: exit code 0 if coldpress writes the chats as TEXTS.json
// (make_chat_texts.py) has them.
#include <fmt/format.h>

#include <cstdio>
#include <set>

#include "io/file.h"
#include "io/json.h"
#include "tokenizer/chat_template.h"

namespace coldpress {
namespace {

int run(const char* reference) {
  const auto entries = read_json_file(reference);
  if (!entries.ok()) {
    fmt::print(stderr, "{}\n", entries.status().message());
    return 1;
  }
  int different = 0;
  std::set<std::string> templates;
  for (const Json& entry : *entries) {
    const auto path = entry.at("template").get<std::string>();
    const auto source = read_text_file(path);
    ChatTemplate chat_template{source.ok() ? *source : "", {}, path};
    for (const auto& [name, text] : entry.at("special_tokens").items()) {
      chat_template.special_tokens.emplace_back(name, text.get<std::string>());
    }
    templates.insert(path);
    const auto text = render_chat(chat_template, entry.at("chat"));
    if (text.ok() && *text == entry.at("text").get<std::string>()) continue;
    ++different;
    fmt::print(stderr, "{}\n  transformers: {}\n  coldpress:    {}\n", path,
               entry.at("text").dump(), text.ok() ? Json(*text).dump() : text.status().message());
  }
  fmt::print("{} chats by {} templates, {} different\n", entries->size(), templates.size(),
             different);
  return different == 0 && !entries->empty() ? 0 : 1;
}

}  // namespace
}  // namespace coldpress

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: compare_chats TEXTS.json\n");
    return 2;
  }
  return coldpress::run(argv[1]);
}
